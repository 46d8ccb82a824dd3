#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pages of `weft topo --to html` in a real browser: they open from a file without a word on the
# console, hold every node of the graph, and answer to pointer, search and findings. Skipped where
# there is no Chromium, or none that starts.
# Usage: test_html.sh WEFT SHARED-DATA
set -u
weft=$1 shared=$2
failures=0
fail() {
    echo "FAILED $*"
    failures=$((failures + 1))
}
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
    echo 'skipped: no Chromium here'
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset WEFT_TOPOLOGY
open_page() { # PAGE: its DOM, once scripts have run, to page.dom; the browser's words to page.log
    timeout -k 5 60 "$browser" --headless --no-sandbox --disable-gpu --no-first-run \
        --disable-background-networking --user-data-dir="$work/profile" \
        --enable-logging=stderr --virtual-time-budget=2000 --dump-dom "file://$1" \
        >"$1.dom" 2>"$1.log"
}
echo '<!DOCTYPE html><title>it starts</title>' >"$work/empty.html"
if ! open_page "$work/empty.html" || ! grep -q 'it starts' "$work/empty.html.dom"; then
    echo 'skipped: Chromium does not start here'
    exit 77
fi
quiet() { # PAGE: nothing on the console
    local words
    words=$(grep -E 'CONSOLE|Uncaught|Refused|ERR_' "$1.log") &&
        fail "$(basename "$1"): the console says: $(head -3 <<<"$words")"
}

check() { # NAME [SOURCE]: every node of the graph is in the page as the browser sees it
    local name=$1
    shift
    "$weft" topo "$@" --json -o "$work/$name.json"
    [ $? -le 1 ] || fail "$name: no JSON" # 1: a finding of severity error
    "$weft" topo "$@" --to html -o "$work/$name.html"
    [ $? -le 1 ] || fail "$name: no page"
    open_page "$work/$name.html" || fail "$name: the browser ended with $?"
    quiet "$work/$name.html"
    python3 - "$work/$name.json" "$work/$name.html.dom" <<'END' || fail "$name"
import html.parser, json, sys

class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.nodes, self.links, self.tags = set(), set(), set()
        self.handlers = self.sources = 0

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        attributes = dict(attributes)
        if 'data-node' in attributes:
            self.nodes.add(attributes['data-node'])
        if tag == 'tr' and (attributes.get('id') or '').startswith('l'):
            self.links.add(attributes['id'])
        self.handlers += sum(name.startswith('on') for name in attributes)
        self.sources += sum(name in ('src', 'href', 'xlink:href') for name in attributes)

graph = json.load(open(sys.argv[1]))
page = Page()
page.feed(open(sys.argv[2], encoding='utf-8').read())
names = {node['name'] for node in graph['nodes']}
missing = names - page.nodes
assert not missing, 'missing in the page: %s' % sorted(missing)[:5]
assert page.nodes == names, 'not in the graph: %s' % sorted(page.nodes - names)[:5]
assert len(page.links) == len(graph['links']), 'links: %d' % len(page.links)
assert not page.handlers and not page.sources and not page.tags & {'img', 'iframe', 'object'}
print('%d nodes, %d links: all there' % (len(names), len(page.links)))
END
}

check cluster 'host:4 nvswitch:1 gpu:8 nic:8@400'
check sixty_four 'host:64 nvswitch:4 gpu:8 nic:8@400'
check here
for file in hwloc/nvidiaDGX2.xml mpibind/coral-lassen.xml mpibind/epyc-corona.xml \
    oracle/H100-topology.xml topograph/ibnetdiscover-ndr-40sw.out; do
    if [ -r "$shared/topodata/$file" ]; then
        check "$(basename "${file%.*}")" "$shared/topodata/$file"
    else
        echo "skipped: no $shared/topodata/$file"
    fi
done

# Names that would like to be markup, in every place that takes text.
python3 - "$work/hostile.json" <<'END'
import json, sys
evil = ['</script><img src=x onerror=document.title="broken">', '"&<>\'', ']]>--><!--<script>',
        '</style></title></svg><script>document.title="broken"</script>',
        '" onload="document.title=1" x="']
nodes = [{'name': 'host', 'kind': 'host'}]
nodes += [{'name': name, 'kind': 'gpu', 'parent': 'host', 'attributes': {
    'model': {'value': name, 'source': 'file'}, 'serial': {'value': name, 'source': 'file'}}}
    for name in evil]
links = [{'kind': 'nvlink', 'from': a, 'to': b} for a, b in zip(evil, evil[1:])]
json.dump({'format': 'weft-topology', 'version': 1, 'probes': [
    {'name': evil[0], 'available': True, 'reason': evil[3]}], 'remarks': [
    {'kind': 'guess', 'source': 'file', 'node': name, 'text': name} for name in evil],
    'nodes': nodes, 'links': links}, open(sys.argv[1], 'w'))
END
check hostile "$work/hostile.json"
grep -q '<title>Topology of host</title>' "$work/hostile.html.dom" || fail 'hostile: the title changed'

# What a user does. The policy lets no other script in, so this copy has none.
python3 - "$work/cluster.html" "$work/used.html" <<'END'
import re, sys
page = open(sys.argv[1], encoding='utf-8').read()
page, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', '', page)
assert count == 1
script = r'''
const seen = {}, byId = id => document.getElementById(id), tip = byId('tip');
const gpu = document.querySelector('.s-chip[data-node="host0/gpu0"]');
const point = (target, kind) => target.dispatchEvent(new PointerEvent(kind,
    {bubbles: true, clientX: 300, clientY: 300, button: 0}));
point(gpu, 'pointermove');
seen.box = !tip.hidden && tip.textContent.includes('host0/gpu0');
const line = document.querySelector('.l.k-network');
point(line, 'pointermove');
seen.line = !tip.hidden && tip.textContent.includes('50 GB/s nominal [file]');
point(byId('drawing'), 'pointermove');
seen.gone = tip.hidden;
gpu.dispatchEvent(new MouseEvent('click', {bubbles: true}));
seen.joined = document.querySelectorAll('.l.lit').length === 2 && gpu.classList.contains('lit');
dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}));
seen.cleared = !document.querySelector('.lit');
const search = byId('search');
search.value = 'host2/nic';
search.dispatchEvent(new Event('input'));
seen.found = byId('hits').textContent.startsWith('8 found') &&
    document.querySelector('[data-node="host2/nic3"].b').classList.contains('lit');
byId('hits').querySelector('button').click();
seen.shown = !tip.hidden && tip.textContent.includes('host2/nic0');
const before = byId('drawing').getAttribute('viewBox');
byId('in').click();
seen.zoomed = byId('drawing').getAttribute('viewBox') !== before;
byId('drawing').dispatchEvent(new WheelEvent('wheel', {deltaY: 50, clientX: 300, clientY: 300}));
const zoomed = byId('drawing').viewBox.baseVal.x;
point(byId('drawing'), 'pointerdown');
dispatchEvent(new PointerEvent('pointermove', {clientX: 350, clientY: 300}));
seen.dragged = byId('drawing').viewBox.baseVal.x < zoomed;
dispatchEvent(new PointerEvent('pointerup', {}));
document.querySelector('#findings button').click();
seen.finding = document.querySelectorAll('.b.lit').length >= 2;
document.title = JSON.stringify(seen);
'''
open(sys.argv[2], 'w', encoding='utf-8').write(
    page.replace('</body>', '<script>%s</script></body>' % script))
END
open_page "$work/used.html" || fail "used: the browser ended with $?"
quiet "$work/used.html"
seen=$(grep -o '<title>{.*}</title>' "$work/used.html.dom")
case $seen in
*false*) fail "what a user does: $seen" ;;
*'"finding":true'*) ;;
*) fail "what a user does: the page's script did not get to its end: $seen" ;;
esac

# The policy holds: a script that is not the page's own does not run, and the console says so.
sed 's|</body>|<script>document.title = "broken"</script></body>|' "$work/cluster.html" \
    >"$work/foreign.html"
open_page "$work/foreign.html"
grep -q '<title>Topology of 4 hosts</title>' "$work/foreign.html.dom" || fail 'a foreign script ran'
grep -q 'CONSOLE' "$work/foreign.html.log" || fail 'the console check sees nothing'

[ $failures -eq 0 ] && echo 'html: all checks passed'
exit $((failures > 0))
