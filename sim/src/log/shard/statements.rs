//! The tables of the shard, and what clients do to them.

use std::{collections::BTreeMap, ops::ControlFlow};

use shardwright_store::{Error, Member, ShardFile, ValueRef};

/// The registers.
pub(super) const REGISTERS: i64 = 3;

/// A table for each kind, a trigger and a cascade. Whatever happens leaves an entry.
const SCHEMA: [&str; 7] = [
    "CREATE TABLE register (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE entry (n INTEGER PRIMARY KEY AUTOINCREMENT, value INTEGER NOT NULL)",
    "CREATE TABLE trail (register INTEGER REFERENCES register (id) ON DELETE CASCADE, value INTEGER)",
    "CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TRIGGER counted AFTER INSERT ON entry BEGIN
         INSERT INTO tally VALUES ('entries', 1) ON CONFLICT DO UPDATE SET count = count + 1;
     END",
    "CREATE TRIGGER trailed AFTER UPDATE ON register BEGIN
         INSERT INTO trail VALUES (new.id, new.value);
     END",
    "CREATE TRIGGER ended BEFORE INSERT ON entry WHEN new.value < 0 BEGIN
         SELECT RAISE(ROLLBACK, 'no entry is negative');
     END",
];

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Makes the tables.
    Create,
    /// Lets a register have its value.
    Set(i64),
    /// Lets a register have its value; it is refused if the register is there.
    Claim(i64),
    /// Lets a register have its value if it has this one.
    Exchange(i64, i64),
    /// Takes a register away, and its trail with it.
    Clear(i64),
    /// Makes an index, or takes it away.
    Index(bool),
    /// Changes something, and breaks a constraint then.
    Violate(i64),
    /// Changes something, and ends the transaction that it shares with others.
    End(i64),
}

/// What a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// What the register had before; zero if nothing.
    pub(super) before: i64,
    /// The number of its entry.
    pub(super) entry: i64,
}

impl Answer {
    fn encode(self) -> Vec<u8> {
        [self.before, self.entry].map(i64::to_be_bytes).concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (before, entry) = bytes.split_at_checked(8)?;
        Some(Self {
            before: i64::from_be_bytes(before.try_into().ok()?),
            entry: i64::from_be_bytes(entry.try_into().ok()?),
        })
    }
}

impl Deed {
    /// Whether it is refused, whatever the tables hold.
    pub(super) fn is_refused(self) -> bool {
        matches!(self, Self::Violate(_) | Self::End(_))
    }

    /// The register that it is about.
    pub(super) fn register(self) -> Option<i64> {
        match self {
            Self::Set(register)
            | Self::Claim(register)
            | Self::Exchange(register, _)
            | Self::Clear(register) => Some(register),
            Self::Create | Self::Index(_) | Self::Violate(_) | Self::End(_) => None,
        }
    }

    /// Does it. `value` is a number that no other write has.
    pub(super) fn run(self, member: &mut Member<'_>, value: i64) -> Result<Vec<u8>, Error> {
        let mut before = 0;
        match self {
            Self::Create => {
                for sql in SCHEMA {
                    member.execute(sql, ())?;
                }
            }
            Self::Set(register) => {
                before = register_of(member, register)?;
                set(member, register, value)?;
            }
            Self::Claim(register) => {
                let sql = "INSERT INTO register VALUES (?1, ?2)";
                member.execute(sql, &[register, value].map(ValueRef::Integer))?;
            }
            Self::Exchange(register, old) => {
                before = register_of(member, register)?;
                if before == old {
                    set(member, register, value)?;
                }
            }
            Self::Clear(register) => {
                before = register_of(member, register)?;
                let sql = "DELETE FROM register WHERE id = ?1";
                member.execute(sql, &[ValueRef::Integer(register)])?;
            }
            Self::Index(true) => {
                let sql = "CREATE INDEX IF NOT EXISTS by_value ON register (value)";
                member.execute(sql, ())?;
            }
            Self::Index(false) => {
                member.execute("DROP INDEX IF EXISTS by_value", ())?;
            }
            Self::Violate(register) | Self::End(register) => {
                set(member, register, value)?;
                enter(member, value)?;
            }
        }
        match self {
            Self::Violate(_) => {
                member.execute("INSERT INTO trail VALUES (-1, 0)", ())?;
            }
            Self::End(_) => {
                enter(member, -1)?;
            }
            _ => {}
        }
        let entry = enter(member, value)?;
        Ok(Answer { before, entry }.encode())
    }
}

fn register_of(member: &mut Member<'_>, register: i64) -> Result<i64, Error> {
    let sql = "SELECT value FROM register WHERE id = ?1";
    let found = member.query_row(sql, &[ValueRef::Integer(register)], |row| {
        row.get(0).as_i64()
    })?;
    Ok(found.flatten().unwrap_or_default())
}

fn set(member: &mut Member<'_>, register: i64, value: i64) -> Result<(), Error> {
    let sql = "INSERT INTO register VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2";
    let values = [register, value].map(ValueRef::Integer);
    member.execute(sql, &values).map(drop)
}

fn enter(member: &mut Member<'_>, value: i64) -> Result<i64, Error> {
    let sql = "INSERT INTO entry (value) VALUES (?1) RETURNING n";
    let number = member.query_row(sql, &[ValueRef::Integer(value)], |row| row.get(0).as_i64())?;
    Ok(number.flatten().unwrap_or_default())
}

/// What clients read: all of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The registers that are there.
    pub(super) registers: BTreeMap<i64, i64>,
    /// The entries, in their order, by their numbers.
    pub(super) entries: Vec<(i64, i64)>,
    /// How many the trigger has counted.
    pub(super) counted: i64,
}

impl Contents {
    pub(super) fn values(&self) -> Vec<i64> {
        self.entries.iter().map(|(_, value)| *value).collect()
    }
}

/// Reads the tables; nothing while they are not there.
pub(super) fn contents(file: &ShardFile) -> Result<Contents, Error> {
    let snapshot = file.snapshot()?;
    let mut contents = Contents::default();
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'tally'";
    let count = snapshot.query_row(tables, (), |row| row.get(0).as_i64())?;
    if count.flatten() != Some(1) {
        return Ok(contents);
    }
    let pair = |row: &shardwright_store::Row<'_>| {
        let number = |column| row.get(column).as_i64().unwrap_or_default();
        (number(0), number(1))
    };
    let _all = snapshot.query("SELECT id, value FROM register", (), |row| {
        contents.registers.extend([pair(row)]);
        ControlFlow::<()>::Continue(())
    })?;
    let _all = snapshot.query("SELECT n, value FROM entry ORDER BY n", (), |row| {
        contents.entries.push(pair(row));
        ControlFlow::<()>::Continue(())
    })?;
    let counted = snapshot.query_row("SELECT count FROM tally", (), |row| row.get(0).as_i64())?;
    contents.counted = counted.flatten().unwrap_or_default();
    Ok(contents)
}
