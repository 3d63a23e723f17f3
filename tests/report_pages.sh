#!/usr/bin/env bash
# The pages of commands in headless Chromium, at the width of a screen and of a phone: no message on the console, every
# chart drawn and named, nothing beside the page, and tables that the keyboard sorts. Usage: tests/report_pages.sh build/qgrad
set -euo pipefail
qgrad=$(realpath "$1")
root=$(realpath "$(dirname "$0")/..")
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
  echo "skipped: pages of reports: no Chromium here" >&2
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'echo "report_pages: line $LINENO failed" >&2; cat "$work/log" >&2' ERR
cd "$work"

data='"data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}}'
after="\"checkpoint\": \"compare/float/model.safetensors\", \"calibration\": {\"images\": 64},
  \"quantizer\": {\"class\": \"PostTrainLinearQuantizer\", \"bits_weights\": 4, \"bits_activations\": 4, \"per_channel_wts\": true}"
echo "{\"name\": \"quantize\", $data, $after}" >quantize.json
echo "{\"name\": \"sensitivity\", $data, \"sensitivity\": {\"bits\": [8, 2]}, $after}" >sensitivity.json
echo "{\"name\": \"search\", $data, \"search\": {\"bits\": {\"bit_operations\": 0.2}}, $after}" >search.json
echo "{\"name\": \"train\", $data, \"model\": {\"class\": \"convnet\"}, \"train\": {\"epochs\": 3},
  \"quantizer\": {\"class\": \"APoTQuantizer\", \"bits_weights\": 4, \"bits_activations\": 4}}" >train.json
"$qgrad" compare "$root/configs/digits_compare.json" --set train.epochs=3 --set quant_aware_train.epochs=2 --out compare &>log
for command in train quantize sensitivity search; do "$qgrad" $command $command.json --out $command &>log; done

# What a page says of itself when all of it is unfolded; nothing where all is well.
cat >look.js <<'END'
const faults = [];
const expect = (holds, what) => { if (!holds) faults.push(what); };
for (const part of document.querySelectorAll('details')) part.open = true;
const charts = [...document.querySelectorAll('svg')];
expect(charts.length > 0, 'no chart');
for (const chart of charts) {
  const name = chart.getAttribute('aria-label');
  expect(chart.getAttribute('role') === 'img' && name, 'a chart without a name');
  expect(chart.getBoundingClientRect().width > 100 && chart.getBoundingClientRect().height > 50, 'not drawn: ' + name);
  expect(!/NaN|Infinity/i.test(chart.outerHTML), 'numbers that are none: ' + name);
}
expect(document.documentElement.scrollWidth <= innerWidth, 'wider than the window: ' + document.documentElement.scrollWidth);
expect(document.querySelectorAll('h1').length === 1 && document.documentElement.lang, 'no heading or no language');
const heading = document.querySelector('table:not(.matrix) thead th button').parentElement;
const button = heading.querySelector('button');
if (innerWidth > 960) {  // narrow pages have no headings
  button.focus();
  expect(document.activeElement === button, 'a heading that the keyboard does not reach');
}
button.click();
expect(heading.getAttribute('aria-sort') === 'ascending', 'not sorted');
document.title = faults.length ? 'faults: ' + faults.join('; ') : 'no faults';
END
for command in compare train quantize sensitivity search; do
  { sed 's|</body></html>||' $command/report.html; echo "<script>"; cat look.js; echo "</script></body></html>"; } >page.html
  for width in 1280 400; do
    "$browser" --headless --no-sandbox --window-size=$width,1000 --enable-logging=stderr --dump-dom "file://$work/page.html" >dom 2>log
    grep -o '<title>no faults</title>' dom >/dev/null || { grep -o '<title>[^<]*' dom >&2; false; }
    if grep CONSOLE log >&2; then false; fi
  done
done
echo "report_pages: five pages, drawn and sorted at two widths"
