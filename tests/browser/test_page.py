"""The page as every artist opens it."""

from devtools.browser.bench import Bench


def test_every_node_can_be_placed_without_a_complaint(bench: Bench) -> None:
    info = bench.server.api.object_info()
    ours = [name for name, node in info.items() if node["python_module"].endswith("memory-v2v")]
    assert len(ours) > 20
    for idx, name in enumerate(ours):
        bench.add(name, (400 * (idx % 6), 500 * (idx // 6)))
    bench.show_all()
    assert bench.evaluate("() => app.graph.nodes.length") == len(ours)
    assert not bench.problems
