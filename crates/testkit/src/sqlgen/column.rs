//! A column: its declaration, and what its rows hold.

use crate::{
    dice::Dice,
    sqlgen::{content::Content, name::ident},
};

/// SQLite's type affinity of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// INTEGER.
    Integer,
    /// TEXT.
    Text,
    /// BLOB, also called NONE: values stay as they are.
    Blob,
    /// REAL.
    Real,
    /// NUMERIC.
    Numeric,
}

/// A built-in collating sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collation {
    /// Bytes.
    Binary,
    /// ASCII letters without case.
    Nocase,
    /// Without trailing spaces.
    Rtrim,
}

impl Collation {
    pub(super) const ALL: [Self; 3] = [Self::Binary, Self::Nocase, Self::Rtrim];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Binary => "BINARY",
            Self::Nocase => "NOCASE",
            Self::Rtrim => "RTRIM",
        }
    }
}

/// A column of a generated table.
#[derive(Clone, Debug)]
pub struct Column {
    /// The name, not quoted.
    pub name: String,
    /// The declared type; empty for none.
    pub declared: String,
    /// Its affinity.
    pub affinity: Affinity,
    /// Its collating sequence.
    pub collation: Collation,
    /// Whether it is NOT NULL, by itself or as a key.
    pub not_null: bool,
    /// DEFAULT, as SQL.
    pub default: Option<String>,
    /// CHECK, as SQL.
    pub check: Option<String>,
    /// The expression of a generated column with its STORED or VIRTUAL.
    pub generated: Option<(String, &'static str)>,
    /// What its rows hold.
    pub content: Content,
}

impl Column {
    pub(super) fn new(name: &str, declared: &str, content: Content) -> Self {
        Self {
            name: name.to_owned(),
            declared: declared.to_owned(),
            affinity: affinity(declared),
            collation: Collation::Binary,
            not_null: false,
            default: None,
            check: None,
            generated: None,
            content,
        }
    }

    /// A column of a random type, as a STRICT table or any other allows it.
    pub(super) fn random(name: &str, strict: bool, dice: &mut Dice) -> Self {
        let types = if strict { STRICT_TYPES } else { TYPES };
        let (declared, contents) = *dice.pick(types);
        let mut column = Self::new(name, declared, *dice.pick(contents));
        if column.content.has_text() && dice.chance(35) {
            column.collation = *dice.pick(&Collation::ALL);
        }
        if dice.chance(15) {
            column.not_null = true;
        }
        if dice.chance(15) && column.content != Content::Parent {
            column.default = Some(column.content.value(dice).literal());
        }
        if dice.chance(15) {
            column.check = column.content.check(&ident(name));
        }
        column
    }

    /// Whether two values of this column may be equal in SQL and yet look different.
    pub(super) fn is_varied(&self) -> bool {
        (self.content.has_text() && self.collation != Collation::Binary)
            || (self.content.mixes_numbers()
                && matches!(self.affinity, Affinity::Blob | Affinity::Real))
    }

    /// The declaration inside CREATE TABLE, without PRIMARY KEY.
    pub(super) fn declaration(&self) -> String {
        let mut sql = ident(&self.name);
        if !self.declared.is_empty() {
            sql.push(' ');
            sql.push_str(&self.declared);
        }
        if self.not_null {
            sql.push_str(" NOT NULL");
        }
        if self.collation != Collation::Binary {
            sql.push_str(&format!(" COLLATE {}", self.collation.name()));
        }
        if let Some(default) = &self.default {
            sql.push_str(&format!(" DEFAULT ({default})"));
        }
        if let Some(check) = &self.check {
            sql.push_str(&format!(" CHECK ({check})"));
        }
        if let Some((expression, storage)) = &self.generated {
            sql.push_str(&format!(" GENERATED ALWAYS AS ({expression}) {storage}"));
        }
        sql
    }
}

/// SQLite's rules for the affinity of a declared type, in their order.
fn affinity(declared: &str) -> Affinity {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        Affinity::Integer
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Affinity::Text
    } else if declared.is_empty() || has("BLOB") || declared == "ANY" {
        Affinity::Blob
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

use Content::{
    Bytes, Date, Dyadic, Flag, Mixed, Money, OddText, SmallInt, WideInt, WildReal, Word,
};

const TYPES: &[(&str, &[Content])] = &[
    ("INTEGER", &[SmallInt, SmallInt, WideInt, Mixed]),
    ("INT", &[SmallInt, Flag]),
    ("BIGINT", &[WideInt, SmallInt]),
    ("FLOATING POINT", &[SmallInt, Dyadic]),
    ("TEXT", &[Word, Word, OddText, Date, Mixed]),
    ("VARCHAR(20)", &[Word, OddText]),
    ("REAL", &[Dyadic, Money, WildReal]),
    ("DOUBLE PRECISION", &[Dyadic, Mixed]),
    ("NUMERIC", &[SmallInt, Dyadic, Mixed]),
    ("DECIMAL(10,2)", &[Money]),
    ("DATETIME", &[Date]),
    ("BOOLEAN", &[Flag]),
    ("STRING", &[OddText, Mixed]),
    ("BLOB", &[Bytes, Mixed]),
    ("", &[Mixed, Word, SmallInt]),
];

const STRICT_TYPES: &[(&str, &[Content])] = &[
    ("INTEGER", &[SmallInt, WideInt]),
    ("INT", &[SmallInt]),
    ("REAL", &[Dyadic, WildReal]),
    ("TEXT", &[Word, OddText]),
    ("BLOB", &[Bytes]),
    ("ANY", &[Mixed]),
];
