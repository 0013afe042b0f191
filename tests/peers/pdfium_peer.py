"""PDFium (of Chromium) as a reader of sealed letters.

Arguments: a file, a passphrase ('' for none), and a file for a picture of the first page (PPM), or nothing.
Answers with one line of JSON: what is read, or the error.
"""

import json
import sys

import pypdfium2

path, passphrase = sys.argv[1:3]
try:
    document = pypdfium2.PdfDocument(path, password=passphrase or None)
except pypdfium2.PdfiumError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit(0)
text = [page.get_textpage().get_text_bounded() for page in document]
print(json.dumps({"pages": len(document), "text": "\n".join(text), "metadata": document.get_metadata_dict(True)}))
if len(sys.argv) > 3:
    bitmap = document[0].render(scale=2, rev_byteorder=True)
    width, height, stride, channels = bitmap.width, bitmap.height, bitmap.stride, bitmap.n_channels
    data = bytes(bitmap.buffer)
    with open(sys.argv[3], "wb") as out:
        out.write(b"P6 %d %d 255\n" % (width, height))
        for row in range(height):
            line = data[row * stride : row * stride + width * channels]
            out.write(b"".join(line[i : i + 3] for i in range(0, len(line), channels)))
