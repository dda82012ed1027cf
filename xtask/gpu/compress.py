"""Packs files for a machine that has no more than Python's own library.

    python3 compress.py folder FROM OUT.tar.xz [--quick]    # all that is in the folder, programs first made easier to compress
    python3 compress.py numbers FROM OUT.xz                 # a file of 16-bit numbers
"""

import lzma
import shutil
import sys
import tarfile

what, source, out = sys.argv[1:4]
level = 0 if "--quick" in sys.argv else 9
if what == "folder":
    # Jumps of programs as absolute addresses repeat more often. The model lies in a program too: the dictionary reaches that far.
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": level}]
    with lzma.open(out, "wb", filters=filters) as packed, tarfile.open(fileobj=packed, mode="w") as archive:

        def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            return member

        archive.add(source, arcname=".", filter=anonymous)
elif what == "numbers":
    # Even and odd bytes are alike among themselves.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": level, "lc": 3, "lp": 1, "pb": 1}]
    with open(source, "rb") as file, lzma.open(out, "wb", filters=filters) as packed:
        shutil.copyfileobj(file, packed, 1 << 20)
else:
    sys.exit(f"error: '{what}': expected folder or numbers")
