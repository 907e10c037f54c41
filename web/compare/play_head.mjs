// One play head for several videos of one length and rate.

// Drift between two videos, in frames: below it they are left alone, above it they are nudged, and
// far above they stop and start together.
const NUDGE_FROM = 0.2;
const REALIGN_FROM = 0.7;
const NUDGE = 0.08;

// Resolves once a video can show the place that it was sent to.
function ready(video) {
  if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && !video.seeking) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    const look = () => {
      const isThere = video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && !video.seeking;
      if (isThere || video.error) {
        EVENTS.forEach((name) => video.removeEventListener(name, look));
        resolve();
      }
    };
    const EVENTS = ["seeked", "loadeddata", "canplay", "error"];
    EVENTS.forEach((name) => video.addEventListener(name, look));
  });
}

export class PlayHead {
  // `onMove` is called with nothing whenever the frame, or whether it plays, has changed.
  constructor(onMove) {
    this.onMove = onMove;
    this.videos = [];
    this.numFrames = 0;
    this.rate = 1;
    this.speed = 1;
    this.isPlaying = false;
    // Grows with every command: what was awaited for an older one is dropped.
    this.command = 0;
    this.wanted = 0; // the frame that was asked for while standing
  }

  // The videos that move together; the first one leads.
  async follow(videos, numFrames, rate) {
    const [isPlaying, frame] = [this.isPlaying, this.frame];
    this.pause();
    Object.assign(this, { videos, numFrames, rate });
    for (const video of videos) {
      video.onended = () => this.isPlaying && this.align(0);
    }
    await this.show(Math.min(frame, Math.max(0, numFrames - 1)));
    if (isPlaying) {
      await this.play();
    }
  }

  get frame() {
    const leader = this.videos[0];
    if (!this.isPlaying || !leader) {
      return this.wanted;
    }
    return Math.min(this.numFrames - 1, Math.floor(leader.currentTime * this.rate + 1e-3));
  }

  // How far the videos lie apart now, in frames.
  get drift() {
    const times = this.videos.map((video) => video.currentTime);
    return (Math.max(...times) - Math.min(...times)) * this.rate;
  }

  async show(frame) {
    this.pause();
    const last = Math.max(0, this.numFrames - 1);
    this.wanted = Math.min(last, Math.max(0, Math.round(frame)));
    // The middle of a frame: rounding cannot reach its neighbour.
    this.videos.forEach((video) => (video.currentTime = (this.wanted + 0.5) / this.rate));
    this.onMove();
    await Promise.all(this.videos.map(ready));
  }

  step(count) {
    // From the last frame on to the first one, as the loop does.
    const frame = this.frame + count;
    return this.show((frame + this.numFrames) % Math.max(1, this.numFrames));
  }

  toggle() {
    return this.isPlaying ? this.show(this.frame) : this.play();
  }

  pause() {
    this.command += 1;
    if (this.isPlaying) {
      this.wanted = this.frame;
      this.isPlaying = false;
      this.videos.forEach((video) => video.pause());
      this.onMove();
    }
  }

  async play() {
    if (this.videos.length && this.numFrames > 1 && !this.isPlaying) {
      const isAtEnd = this.wanted >= this.numFrames - 1;
      this.isPlaying = true;
      await this.align(isAtEnd ? 0 : (this.wanted + 0.5) / this.rate);
    }
  }

  setSpeed(speed) {
    this.speed = speed;
    this.videos.forEach((video) => (video.playbackRate = speed));
    this.onMove();
  }

  // All videos stop, go to one time, and start together.
  async align(time) {
    const command = (this.command += 1);
    this.videos.forEach((video) => {
      video.pause();
      video.currentTime = time;
    });
    await Promise.all(this.videos.map(ready));
    if (command !== this.command) {
      return;
    }
    this.setSpeed(this.speed);
    await Promise.all(this.videos.map((video) => video.play())).catch(() => undefined);
    if (command === this.command) {
      this.watch(command);
    }
  }

  watch(command) {
    requestAnimationFrame(() => {
      if (command !== this.command || !this.isPlaying) {
        return;
      }
      const [leader, ...others] = this.videos;
      this.onMove();
      if (this.videos.some((video) => video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA)) {
        // One waits for data: none runs ahead of it.
        const times = this.videos.map((video) => video.currentTime);
        this.align(Math.min(...times));
        return;
      }
      if (!leader.ended && this.drift > REALIGN_FROM) {
        this.align(leader.currentTime);
        return;
      }
      others.forEach((video) => this.nudge(video, leader));
      this.watch(command);
    });
  }

  nudge(video, leader) {
    const ahead = (video.currentTime - leader.currentTime) * this.rate;
    const isNear = Math.abs(ahead) < NUDGE_FROM;
    const rate = this.speed * (isNear ? 1 : 1 - Math.sign(ahead) * NUDGE);
    if (video.playbackRate !== rate) {
      video.playbackRate = rate;
    }
  }
}
