//! What a column holds: kinds of values, chosen so that ties, edges and mixtures are common.

use crate::{dice::Dice, value::Value};

/// A kind of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// 0 to 20.
    SmallInt,
    /// Mostly 1 to 60, and now and then any other integer.
    RowKey,
    /// 0 or 1.
    Flag,
    /// Any integer, the edges of 64 and 53 bits often.
    WideInt,
    /// Small multiples of 1/8, whose sums are exact.
    Dyadic,
    /// Positive amounts with two digits after the point.
    Money,
    /// Any real.
    WildReal,
    /// A few words in several cases.
    Word,
    /// Text that code gets wrong.
    OddText,
    /// Dates as text.
    Date,
    /// Blobs.
    Bytes,
    /// Any of the above.
    Mixed,
    /// Values of another table's key.
    Parent,
    /// Computed by SQLite from other columns.
    Computed,
}

impl Content {
    /// A value of this kind, never NULL.
    pub(super) fn value(self, dice: &mut Dice) -> Value {
        match self {
            Self::SmallInt | Self::Parent | Self::Computed => Value::Integer(dice.between(0..=20)),
            Self::RowKey => row_key(dice),
            Self::Flag => Value::Integer(dice.between(0..=1)),
            Self::WideInt => wide_int(dice),
            Self::Dyadic => Value::Real(dice.between(-80..=80) as f64 / 8.0),
            Self::Money => Value::Real(dice.between(1..=9999) as f64 / 100.0),
            Self::WildReal => Value::Real(*dice.pick(WILD_REALS)),
            Self::Word => Value::text(*dice.pick(WORDS)),
            Self::OddText => Value::text(*dice.pick(ODD_TEXTS)),
            Self::Date => date(dice),
            Self::Bytes => Value::Blob(dice.pick(BLOBS).to_vec()),
            Self::Mixed => dice.pick(MIXTURE).value(dice),
        }
    }

    /// Whether values may be text.
    pub(super) fn has_text(self) -> bool {
        matches!(
            self,
            Self::Word | Self::OddText | Self::Date | Self::Mixed | Self::Parent | Self::Computed
        )
    }

    /// Whether values are integers.
    pub(super) fn is_integer(self) -> bool {
        matches!(
            self,
            Self::SmallInt | Self::RowKey | Self::Flag | Self::WideInt
        )
    }

    /// Whether values may be numbers of several forms, such as `1` and `1.0`, or `0.0` and `-0.0`.
    pub(super) fn mixes_numbers(self) -> bool {
        matches!(
            self,
            Self::Mixed | Self::WildReal | Self::Parent | Self::Computed
        )
    }

    /// Whether sums are exact in every order.
    pub(super) fn sums_exactly(self) -> bool {
        matches!(
            self,
            Self::SmallInt | Self::Flag | Self::Dyadic | Self::Word | Self::Bytes
        )
    }

    /// Whether sums are the same in every order but for rounding.
    pub(super) fn sums_closely(self) -> bool {
        self.sums_exactly() || self == Self::Money
    }

    /// A CHECK that all values of this kind pass.
    pub(super) fn check(self, column: &str) -> Option<String> {
        match self {
            Self::SmallInt | Self::Flag => Some(format!("{column} >= 0")),
            Self::Money => Some(format!("{column} IS NULL OR {column} > 0")),
            Self::Word | Self::OddText | Self::Date => Some(format!("length({column}) < 100")),
            Self::Dyadic => Some(format!("{column} BETWEEN -1000 AND 1000")),
            Self::RowKey
            | Self::WideInt
            | Self::WildReal
            | Self::Bytes
            | Self::Mixed
            | Self::Parent
            | Self::Computed => None,
        }
    }
}

/// Small keys are common, so that two tables share some.
fn row_key(dice: &mut Dice) -> Value {
    match dice.index(12) {
        0 => wide_int(dice),
        1 => Value::Integer(dice.between(-3..=0)),
        _ => Value::Integer(dice.between(1..=60)),
    }
}

fn wide_int(dice: &mut Dice) -> Value {
    Value::Integer(match dice.index(3) {
        0 => dice.between(-5..=5),
        1 => *dice.pick(EDGES),
        _ => dice.between(i64::MIN..=i64::MAX),
    })
}

fn date(dice: &mut Dice) -> Value {
    let (year, month, day) = (
        dice.between(2022..=2024),
        dice.between(1..=12),
        dice.between(1..=28),
    );
    let time = if dice.chance(30) { " 12:30:00" } else { "" };
    Value::text(format!("{year}-{month:02}-{day:02}{time}"))
}

const MIXTURE: &[Content] = &[
    Content::SmallInt,
    Content::SmallInt,
    Content::WideInt,
    Content::Dyadic,
    Content::WildReal,
    Content::Word,
    Content::OddText,
    Content::Bytes,
];

const EDGES: &[i64] = &[
    i64::MAX,
    i64::MIN,
    i64::MAX - 1,
    i64::MIN + 1,
    1 << 53,
    (1 << 53) + 1,
    -(1 << 53) - 1,
    1 << 31,
    (1 << 32) - 1,
];

const WILD_REALS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    0.1,
    0.30000000000000004,
    1e300,
    -1e300,
    1e-300,
    5e-324,
    9007199254740993.0,
    9223372036854775808.0,
    -9223372036854775808.0,
    1e15,
    123456789.125,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

const WORDS: &[&str] = &[
    "alpha", "Alpha", "ALPHA", "beta", "Beta", "gamma", "delta", "a", "b", "B", "", "zeta",
];

const ODD_TEXTS: &[&str] = &[
    "",
    " ",
    "a ",
    "a",
    "A",
    "a  ",
    "12",
    "12 ",
    " 12",
    "1.0",
    "1",
    "01",
    "1e2",
    "-0",
    "0x10",
    "12abc",
    "é",
    "É",
    "e\u{301}",
    "ß",
    "日本語",
    "😀",
    "it's",
    "say \"hi\"",
    "100%",
    "a_b",
    "x\0y",
    "x\0z",
    "line\nbreak",
    "NULL",
    "[1]",
    "{\"a\":1}",
    "--",
    "?1",
    "ÿ",
];

const BLOBS: &[&[u8]] = &[
    b"",
    b"a",
    b"A",
    b"12",
    &[0],
    &[0, 1],
    &[255],
    &[255, 254, 0],
    b"alpha",
    b"1.0",
];
