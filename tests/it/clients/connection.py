"""What programs do with libsql-experimental, and with the older libsql-client."""

import asyncio
import os
import sys

import libsql_client
import libsql_experimental as libsql

URL, OTHER = sys.argv[1:3]
TOKEN = os.environ.get("TOKEN", "")


def connected():
    connection = libsql.connect(URL, auth_token=TOKEN)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE pets(id INTEGER PRIMARY KEY, name TEXT, weight REAL, tag BLOB)")
    for number in range(1, 9):
        values = (number, f"pet {number}", number + 0.5, bytes([number, 0, 255]))
        connection.execute("INSERT INTO pets VALUES (?, ?, ?, ?)", values)
        # It has begun a transaction, which is on the shard of the key.
        connection.commit()
    found = connection.execute("SELECT name, weight, tag FROM pets WHERE id = ?", (3,)).fetchone()
    assert found == ("pet 3", 3.5, b"\x03\x00\xff"), found
    listed = connection.execute("SELECT id FROM pets ORDER BY weight DESC").fetchall()
    assert [row[0] for row in listed] == list(range(8, 0, -1)), listed

    connection.execute("UPDATE pets SET name = 'gone' WHERE id = ?", (3,))
    connection.rollback()
    assert connection.execute("SELECT name FROM pets WHERE id = 3").fetchone() == ("pet 3",)
    columns = connection.execute('PRAGMA main.table_info("pets")').fetchall()
    assert [column[1] for column in columns] == ["id", "name", "weight", "tag"], columns
    returned = connection.execute("INSERT INTO pets VALUES (9, 'nine', 9, NULL) RETURNING name").fetchall()
    assert returned == [("nine",)], returned
    connection.commit()
    try:
        connection.execute("SELECT * FROM nowhere")
        raise SystemExit("it was not refused")
    except ValueError as error:
        assert "no such table" in str(error), error


async def stateless():
    async with libsql_client.create_client(OTHER, auth_token=TOKEN or None) as client:
        counted = await client.execute("SELECT count(*) AS n FROM pets")
        assert counted.rows[0]["n"] == 9, counted.rows
        await client.batch([
            ("UPDATE pets SET name = ? WHERE id = ?", ["one", 1]),
            ("UPDATE pets SET tag = ? WHERE id = ?", [b"\x01", 1]),
        ])
        one = await client.execute("SELECT name, tag FROM pets WHERE id = :id", {"id": 1})
        assert tuple(one.rows[0]) == ("one", b"\x01"), one.rows


connected()
asyncio.run(stateless())
print("done")
