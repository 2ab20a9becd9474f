//! The rows that a transaction has touched, each as it was before.

use std::{
    collections::{HashMap, hash_map::Entry},
    ffi::c_int,
    ops::Range,
    sync::Arc,
};

use foldhash::fast::FixedState;

use super::{
    arena::Arena,
    hook::{Operation, Touch},
    refused,
    table::{TableDef, TableNames},
    too_large,
};
use crate::{
    CHANGES_BYTES_MAX, Error, META_TABLE, ValueRef, digest::encode, guard::Guard, identity,
};

/// Listens to the hook.
#[derive(Debug)]
pub(crate) struct Tap {
    state: State,
    guard: Arc<Guard>,
    names: Arc<TableNames>,
    /// What is known of tables that were touched since the schema changed.
    defs: HashMap<Box<str>, Arc<TableDef>, FixedState>,
    /// Whether a statement on the schema runs, which may fill tables that did not exist before it.
    unknown_expected: bool,
    failure: Option<Failure>,
    touched: Touched,
    /// The table of the last touch.
    last: usize,
    key: Vec<u8>,
}

/// For how many rows memory is kept when they are forgotten.
const SPARE_ROWS_MAX: usize = 4096;

/// About what a touched row takes, besides its values.
const ROW_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Listening,
    /// The changes are taken: nothing may be touched any more.
    Sealed,
}

/// Why capture cannot go on.
#[derive(Debug)]
enum Failure {
    UnknownTable(String),
    NoRowKey(String),
    Sqlite(c_int),
    /// A row that is the file's own.
    OwnRow,
    TooLarge,
}

/// The touched rows, and what they were.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) tables: Vec<TouchedTable>,
    pub(crate) arena: Arena,
    /// Room for the rows of the next table.
    spare_rows: Vec<TouchedRow>,
    /// Whether something of what was touched may have been undone: then no row is known to be as it was announced.
    pub(crate) undone: bool,
}

/// The touched rows of a table, in the order of their first touch.
#[derive(Debug)]
pub(crate) struct TouchedTable {
    pub(crate) name: Box<str>,
    /// Whether its rows have no key, so that no change of them is kept.
    pub(crate) refused: bool,
    /// Whether it is `_meta`.
    is_meta: bool,
    /// The columns of the primary key, in a table WITHOUT ROWID.
    primary_key: Option<Arc<[c_int]>>,
    /// What is known of the table; nothing while it is touched for the first time since the schema changed.
    pub(crate) def: Option<Arc<TableDef>>,
    pub(crate) rows: Vec<TouchedRow>,
    /// Which of the rows has a rowid; none while they have come in their order, as those of new rows do.
    by_rowid: Option<HashMap<i64, usize, FixedState>>,
    by_key: HashMap<Box<[u8]>, (), FixedState>,
}

/// A touched row.
#[derive(Clone, Debug)]
pub(crate) struct TouchedRow {
    pub(crate) key: TouchedKey,
    /// Where its values begin in the arena, all columns of the table; `None` if it did not exist.
    pub(crate) old: Option<usize>,
    /// Where the values are written with which it was inserted; `None` if they are to be read, because it was touched again, was there
    /// before, or came when its table was not known yet.
    pub(crate) new: Option<Range<usize>>,
}

/// The key of a touched row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TouchedKey {
    RowId(i64),
    /// Where its values begin in the arena.
    Columns(usize),
}

impl Tap {
    pub(super) fn new(guard: Arc<Guard>) -> Self {
        Self {
            state: State::Off,
            guard,
            names: Arc::default(),
            defs: HashMap::default(),
            unknown_expected: false,
            failure: None,
            touched: Touched::default(),
            last: 0,
            key: Vec::new(),
        }
    }

    /// Begins to listen, with no rows touched.
    pub(super) fn start(&mut self, names: Arc<TableNames>) {
        self.touched.clear();
        // Each version of the schema has names of its own.
        if !Arc::ptr_eq(&self.names, &names) {
            self.rename(names);
        }
        self.failure = None;
        self.unknown_expected = false;
        self.state = State::Listening;
    }

    pub(super) fn stop(&mut self) {
        self.touched.clear();
        self.state = State::Off;
    }

    pub(super) fn seal(&mut self) {
        self.touched.clear();
        self.state = State::Sealed;
    }

    pub(super) fn expect_unknown_tables(&mut self, expected: bool) {
        self.unknown_expected = expected;
    }

    /// Goes on with the tables of a changed schema.
    pub(super) fn rename(&mut self, names: Arc<TableNames>) {
        self.names = names;
        self.defs.clear();
    }

    /// Goes on with what is known of a touched table: the rows that are inserted from now on need not be read.
    pub(super) fn learn(&mut self, name: &str, def: &Arc<TableDef>) {
        self.defs.insert(name.into(), Arc::clone(def));
        let mut tables = self.touched.tables.iter_mut();
        if let Some(table) = tables.find(|table| &*table.name == name) {
            table.def = Some(Arc::clone(def));
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.state != State::Off
    }

    /// Counts a row that is about to be touched.
    pub(super) fn count(&self) {
        self.guard.count_touch();
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.guard.note_news();
    }

    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take().map(|failure| match failure {
            Failure::UnknownTable(table) => refused(format!(
                "a change of {table}, which the schema does not name,"
            )),
            Failure::NoRowKey(table) => Error::NoRowKey { table },
            Failure::Sqlite(code) => {
                refused(format!("a row that SQLite cannot show (result {code})"))
            }
            Failure::OwnRow => Error::Sql {
                message: format!(
                    "not authorized: rows of {META_TABLE} whose keys have no dot belong to the file"
                ),
                offset: None,
            },
            Failure::TooLarge => too_large(),
        })
    }

    /// Makes whoever touches a table from now on fail, because its rows have no key.
    pub(super) fn refuse_table(&mut self, name: &str) {
        let mut tables = self.touched.tables.iter_mut();
        if let Some(table) = tables.find(|table| &*table.name == name) {
            table.refused = true;
        }
    }

    /// Returns the names of the touched tables from that one on.
    pub(super) fn tables_from(&self, first: usize) -> Vec<Box<str>> {
        let tables = self.touched.tables.get(first..).unwrap_or_default();
        tables.iter().map(|table| table.name.clone()).collect()
    }

    /// Takes the touched rows. Give the buffers back with [`Tap::reuse`].
    pub(super) fn take(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Notes that something of what was touched may have been undone.
    pub(super) fn note_undone(&mut self) {
        self.touched.undone = true;
    }

    pub(super) fn reuse(&mut self, mut touched: Touched) {
        if self.touched.tables.is_empty() {
            touched.clear();
            self.touched = touched;
        }
    }

    /// Records the first touch of a row.
    pub(super) fn touch(&mut self, touch: &Touch<'_>) {
        let Some(place) = self.table(touch.table) else {
            return;
        };
        if self.state == State::Sealed {
            self.guard.note_late_change();
            return;
        }
        let Touched { tables, arena, .. } = &mut self.touched;
        let table = &mut tables[place];
        if table.refused {
            let name = table.name.to_string();
            self.fail(Failure::NoRowKey(name));
            return;
        }
        let result = if table.primary_key.is_none() {
            table.touch_rowid(touch, arena)
        } else {
            table.touch_keyed(touch, arena, &mut self.key)
        };
        let is_own = table.is_meta && !is_of_note(touch);
        let is_too_large = arena.size() + table.rows.len() * ROW_BYTES > CHANGES_BYTES_MAX;
        if is_own {
            self.fail(Failure::OwnRow);
        }
        if let Err(code) = result {
            self.fail(Failure::Sqlite(code));
        }
        if is_too_large {
            self.fail(Failure::TooLarge);
        }
    }

    /// Finds the touched table of that name, or adds it. `None` if its rows are not captured.
    fn table(&mut self, name: &[u8]) -> Option<usize> {
        if let Some(table) = self.touched.tables.get(self.last)
            && table.name.as_bytes() == name
        {
            return Some(self.last);
        }
        if name.starts_with(b"sqlite_") || !identity::has_client_rows(name) {
            return None;
        }
        let mut tables = self.touched.tables.iter();
        if let Some(found) = tables.position(|table| table.name.as_bytes() == name) {
            self.last = found;
            return Some(found);
        }
        let name = String::from_utf8_lossy(name);
        let Some(primary_key) = self.names.get(&*name).cloned() else {
            if !self.unknown_expected {
                self.fail(Failure::UnknownTable(name.into_owned()));
            }
            return None;
        };
        let def = self.defs.get(&*name).cloned();
        if def.is_none() {
            self.guard.note_news();
        }
        self.last = self.touched.tables.len();
        self.touched.tables.push(TouchedTable {
            def,
            is_meta: *name == *META_TABLE,
            name: name.into(),
            refused: false,
            primary_key,
            rows: std::mem::take(&mut self.touched.spare_rows),
            by_rowid: None,
            by_key: HashMap::default(),
        });
        Some(self.last)
    }
}

/// Whether what is touched in `_meta` is a note, before and after. The key is its first column.
fn is_of_note(touch: &Touch<'_>) -> bool {
    let operation = touch.operation();
    let is_note = |key: Result<ValueRef<'_>, c_int>| key.is_ok_and(identity::is_note);
    (operation == Operation::Insert || is_note(touch.before(0)))
        && (operation == Operation::Delete || is_note(touch.after(0)))
}

impl TouchedRow {
    /// A row whose values of now are to be read.
    pub(crate) fn to_read(key: TouchedKey, old: Option<usize>) -> Self {
        Self {
            key,
            old,
            new: None,
        }
    }

    /// Returns its rowid, in a table that has them.
    pub(crate) fn rowid(&self) -> i64 {
        match self.key {
            TouchedKey::RowId(rowid) => rowid,
            TouchedKey::Columns(_) => i64::MAX,
        }
    }
}

impl TouchedTable {
    /// Records the first touch of a row that has a rowid.
    #[inline]
    fn touch_rowid(&mut self, touch: &Touch<'_>, arena: &mut Arena) -> Result<(), c_int> {
        let operation = touch.operation();
        if self.note_rowid(touch.rowid_before) {
            let (old, new) = match (operation, &self.def) {
                (Operation::Insert, Some(def)) => (None, arena.write(&def.announced, touch)?),
                (Operation::Insert, None) => (None, None),
                (Operation::Update | Operation::Delete, _) => {
                    let start = arena.copy(0..touch.columns(), |column| touch.before(column))?;
                    (Some(start), None)
                }
            };
            let key = TouchedKey::RowId(touch.rowid_before);
            self.rows.push(TouchedRow { key, old, new });
        }
        if operation == Operation::Update
            && touch.rowid_after != touch.rowid_before
            && self.note_rowid(touch.rowid_after)
        {
            let key = TouchedKey::RowId(touch.rowid_after);
            self.rows.push(TouchedRow::to_read(key, None));
        }
        Ok(())
    }

    /// Records the first touch of a row of a table WITHOUT ROWID. `encoded` is room for its key.
    fn touch_keyed(
        &mut self,
        touch: &Touch<'_>,
        arena: &mut Arena,
        encoded: &mut Vec<u8>,
    ) -> Result<(), c_int> {
        let operation = touch.operation();
        if operation != Operation::Insert
            && let Some(key) = self.new_key(|column| touch.before(column), arena, encoded)?
        {
            let old = arena.copy(0..touch.columns(), |column| touch.before(column))?;
            self.rows.push(TouchedRow::to_read(key, Some(old)));
        }
        if operation != Operation::Delete
            && let Some(key) = self.new_key(|column| touch.after(column), arena, encoded)?
        {
            self.rows.push(TouchedRow::to_read(key, None));
        }
        Ok(())
    }

    /// Copies a key that was not touched before.
    fn new_key<'v>(
        &mut self,
        value: impl Fn(c_int) -> Result<ValueRef<'v>, c_int>,
        arena: &mut Arena,
        encoded: &mut Vec<u8>,
    ) -> Result<Option<TouchedKey>, c_int> {
        let columns = self.primary_key.as_deref().unwrap_or_default();
        encoded.clear();
        for &column in columns {
            encode(value(column)?, encoded);
        }
        if self.by_key.contains_key(&**encoded) {
            return Ok(None);
        }
        self.by_key.insert(encoded.as_slice().into(), ());
        let start = arena.copy(columns.iter().copied(), value)?;
        Ok(Some(TouchedKey::Columns(start)))
    }

    /// Notes that a rowid is touched; returns whether it was not before. Then its row is to be added.
    fn note_rowid(&mut self, rowid: i64) -> bool {
        let Some(known) = self.find_rowid(rowid) else {
            return true;
        };
        if let Some(row) = self.rows.get_mut(known) {
            row.new = None;
        }
        false
    }

    /// Returns which of the rows has a rowid. If none has, the next one will.
    fn find_rowid(&mut self, rowid: i64) -> Option<usize> {
        let next = self.rows.len();
        if self.by_rowid.is_none() {
            if self.rows.last().is_none_or(|last| last.rowid() < rowid) {
                return None;
            }
            if let Ok(known) = self.rows.binary_search_by_key(&rowid, TouchedRow::rowid) {
                return Some(known);
            }
        }
        let rows = &self.rows;
        let by_rowid = self
            .by_rowid
            .get_or_insert_with(|| rows.iter().map(TouchedRow::rowid).zip(0..).collect());
        match by_rowid.entry(rowid) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(new) => {
                new.insert(next);
                None
            }
        }
    }

    /// Forgets how rows were inserted, so that each is read.
    pub(crate) fn forget_announced(&mut self) {
        for row in &mut self.rows {
            row.new = None;
        }
    }

    /// Copies a key, unless it was touched.
    pub(crate) fn touch_also(
        &mut self,
        key: &[ValueRef<'_>],
        arena: &mut Arena,
    ) -> Option<TouchedKey> {
        let mut encoded = Vec::new();
        for &value in key {
            encode(value, &mut encoded);
        }
        self.by_key
            .insert(encoded.into(), ())
            .is_none()
            .then(|| TouchedKey::Columns(arena.keep(key)))
    }
}

impl Touched {
    /// Takes back the memory of a table that is not needed any more.
    pub(crate) fn recycle(&mut self, table: TouchedTable) {
        let mut rows = table.rows;
        if (self.spare_rows.capacity()..SPARE_ROWS_MAX).contains(&rows.capacity()) {
            rows.clear();
            self.spare_rows = rows;
        }
    }

    fn clear(&mut self) {
        self.tables.clear();
        self.arena.clear();
        self.undone = false;
    }
}
