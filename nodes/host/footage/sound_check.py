"""Decodes one second of each sound track of a file: a program of its own.

PyAV frees the channel map of some sounds twice, which ends the process: so of PCM in QuickTime
files whose channels stand in an unusual order. Here it ends a process that nobody misses.

    python sound_check.py FILE AFTER    # FILE - stands for a file on standard input

Prints one line of JSON per track behind stream AFTER, and one after its container was closed.
"""

import gc
import io
import json
import os
import sys

import av

MOST_FAULTS = 50
HELD: "list[av.AudioLayout]" = []


def main(path: str, after: int) -> None:
    """Check the tracks behind a stream, each in a container of its own."""
    source = io.BytesIO(sys.stdin.buffer.read()) if path == "-" else path
    with av.open(source, mode="r", metadata_errors="replace") as container:
        indices = [stream.index for stream in container.streams.audio if stream.index > after]
    for index in indices:
        if not isinstance(source, str):
            source.seek(0)
        check(source, index)
        gc.collect()
        say(index, survived=True)


def check(source: "str | io.BytesIO", index: int) -> None:
    """Say what the track is, and decode its first second."""
    with av.open(source, mode="r", metadata_errors="replace") as container:
        stream = container.streams[index]
        context = stream.codec_context
        if context is None:
            say(index, problem="has no decoder here")
            return
        # Held for ever: PyAV would free the map of the channels with it, before it is looked at.
        HELD.append(context.layout)
        rate, channels, layout = context.sample_rate, HELD[-1].nb_channels, name_of(HELD[-1])
        # "8 channels (FL+FR+...)" is a map of its own, which PyAV frees twice. "8 channels" has no
        # map, and "7.1" is a number.
        if "(" in layout.partition(" ")[2] or not layout:
            say(index, problem=f"has {channels} channels in an order that PyAV cannot hold")
            return
        heard = faults = 0
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                # Players pass over a damaged packet too.
                faults += 1
                frames = []
            for frame in frames:
                rate, channels = frame.sample_rate, frame.layout.nb_channels
                heard += frame.samples
            if heard >= rate or faults > MOST_FAULTS:
                break
        if not heard:
            say(index, problem="could not be decoded" if faults else "holds no samples")
            return
        say(index, codec=context.name, rate=rate, channels=channels, layout=layout)


def say(index: int, **facts: object) -> None:
    """Print what is known of a track."""
    sys.stdout.write(json.dumps({"index": index, **facts}) + "\n")
    sys.stdout.flush()


def name_of(layout: "av.AudioLayout") -> str:
    """FFmpeg's name of the places of the channels; "" for one that is no text."""
    try:
        return layout.name
    except UnicodeDecodeError:
        return ""


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
    # Without tidying up: that would free the held maps.
    os._exit(0)
