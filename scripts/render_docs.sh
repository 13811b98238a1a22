#!/usr/bin/env bash
# Renders the pictures of the README into docs/images with the program itself, and the terminal and the
# page with Chromium. Argument: the program (default: build/release/tiba-onnx).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tool=$(realpath "${1:-$here/build/release/tiba-onnx}")
images=$here/docs/images
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here"

shoot() { # page, picture, width, height
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" \
    --window-size="$3,$4" --screenshot="$images/$2" "file://$work/$1" >/dev/null 2>&1
}

# The colours of 24-bit escapes as a page.
terminal() { # name of the page; the program's output on standard input
  python3 -c '
import html, re, sys
out, style = [], ""
for part in re.split("(\x1b\\[[0-9;]*m)", sys.stdin.read()):
    m = re.match("\x1b\\[([0-9;]*)m", part)
    if not m:
        out.append("<span style=\"%s\">%s</span>" % (style, html.escape(part)))
    elif m.group(1) in ("0", ""):
        style = ""
    else:
        kind, rgb = m.group(1).split(";2;")
        style += ("background" if kind == "48" else "color") + ":rgb(%s);" % rgb.replace(";", ",")
print("<!doctype html><meta charset=utf-8><body style=\"margin:0;background:#1b1d21;color:#eceef2\">"
      "<pre style=\"margin:16px;font:14px/16px DejaVu Sans Mono,monospace\">" + "".join(out) + "</pre>")
' >"$work/$1"
}

export TERM=xterm COLORTERM=truecolor
bags=examples/garment-clip/pictures/6-white-boot-and-blue-bag.png
vit=examples/fashion-vit/pictures/4-bag-and-ankle-boot.png

"$tool" examples/fashion-vit "$vit" --top 2 -o "$images/demo.png" >/dev/null
"$tool" examples/garment-clip "$bags" --text "a white boot and a blue bag" --table \
  -o "$work/words.png" >/dev/null
echo '<!doctype html><body style="margin:0"><img src=words.png width=828>' >"$work/words.html"
shoot words.html words-on-picture.png 828 1012
{
  script -qec "$tool examples/movie-sentiment 'A wonderful cast, but the plot is dull and far too long.'" /dev/null
  printf '\n'
  script -qec "$tool examples/garment-clip $bags --text 'a white boot and a blue bag' --text 'a green boot and a blue bag' --choose 2 --signed -o $work/x.png" /dev/null
} | tr -d '\r' | grep -v '^wrote ' | terminal terminal.html
shoot terminal.html terminal.png 760 630
"$tool" examples/garment-clip "$bags" --text "a white boot and a blue bag" \
  --text "a green boot and a blue bag" --table --html "$work/page.html" >/dev/null
shoot page.html page.png 1000 1250
