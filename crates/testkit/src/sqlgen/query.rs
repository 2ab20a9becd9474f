//! The parts of a SELECT, so that clauses can be rendered, probed and dropped one by one.

use crate::statement::{Sequence, Tolerance};

/// A whole SELECT statement.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Common table expressions, each complete.
    pub with: Vec<String>,
    /// Whether WITH is followed by RECURSIVE.
    pub recursive: bool,
    /// The first SELECT and those compounded with it.
    pub arms: Vec<Arm>,
    /// ORDER BY.
    pub order: Order,
    /// LIMIT.
    pub limit: Option<u64>,
    /// OFFSET; only rendered with a LIMIT.
    pub offset: u64,
    /// What the expressions leave open about values.
    pub tolerance: Tolerance,
}

/// One SELECT of a compound.
#[derive(Clone, Debug, Default)]
pub struct Arm {
    /// The operator before it; empty for the first.
    pub operator: &'static str,
    /// Whether it is SELECT DISTINCT.
    pub distinct: bool,
    /// The result columns with their aliases.
    pub columns: Vec<String>,
    /// The first source, then joins with their operators and constraints.
    pub from: Vec<String>,
    /// Terms of WHERE, joined by AND.
    pub filters: Vec<String>,
    /// GROUP BY.
    pub groups: Vec<String>,
    /// HAVING.
    pub having: Option<String>,
    /// Definitions of the WINDOW clause.
    pub windows: Vec<String>,
}

/// ORDER BY, and how to check it.
#[derive(Clone, Debug, Default)]
pub enum Order {
    /// None.
    #[default]
    Unordered,
    /// Terms that may leave ties.
    Terms(Vec<OrderTerm>),
    /// A term for each result column by its position, so that ties are rows that are the same; the suffixes.
    EveryColumn(Vec<String>),
}

/// A term of ORDER BY.
#[derive(Clone, Debug)]
pub struct OrderTerm {
    /// What the statement says: an expression, an alias or a position.
    pub shown: String,
    /// The expression that it stands for.
    pub meaning: String,
    /// Direction and place of NULLs.
    pub suffix: String,
}

impl Query {
    /// The statement's text.
    pub fn render(&self) -> String {
        let mut sql = self.body("");
        match &self.order {
            Order::Unordered => {}
            Order::Terms(terms) => {
                let terms: Vec<String> = terms
                    .iter()
                    .map(|term| format!("{}{}", term.shown, term.suffix))
                    .collect();
                sql.push_str(&format!(" ORDER BY {}", terms.join(", ")));
            }
            Order::EveryColumn(suffixes) => {
                let term = |(index, suffix): (usize, &String)| format!("{}{suffix}", index + 1);
                let terms: Vec<String> = suffixes.iter().enumerate().map(term).collect();
                sql.push_str(&format!(" ORDER BY {}", terms.join(", ")));
            }
        }
        if let Some(limit) = self.limit {
            sql.push_str(&format!(" LIMIT {limit}"));
            if self.offset > 0 {
                sql.push_str(&format!(" OFFSET {}", self.offset));
            }
        }
        sql
    }

    /// What the statement fixes about the order of its rows.
    pub fn sequence(&self) -> Sequence {
        match &self.order {
            Order::EveryColumn(_) => Sequence::Exact,
            Order::Unordered if self.limit.is_some() => Sequence::Chosen {
                probe: self.body(""),
            },
            Order::Unordered => Sequence::Unordered,
            Order::Terms(terms) => {
                let terms: Vec<String> = terms
                    .iter()
                    .map(|term| format!("{}{}", term.meaning, term.suffix))
                    .collect();
                let rank = format!(", dense_rank() OVER (ORDER BY {})", terms.join(", "));
                let offset = if self.limit.is_some() { self.offset } else { 0 };
                Sequence::Ranked {
                    probe: self.body(&rank),
                    limit: self.limit,
                    offset,
                }
            }
        }
    }

    fn body(&self, rank: &str) -> String {
        let mut sql = String::new();
        if !self.with.is_empty() {
            let recursive = if self.recursive { "RECURSIVE " } else { "" };
            sql.push_str(&format!("WITH {recursive}{} ", self.with.join(", ")));
        }
        for arm in &self.arms {
            sql.push_str(arm.operator);
            arm.render(rank, &mut sql);
        }
        sql
    }
}

impl Arm {
    fn render(&self, rank: &str, sql: &mut String) {
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        sql.push_str(&format!(
            "SELECT {distinct}{}{rank}",
            self.columns.join(", ")
        ));
        if !self.from.is_empty() {
            sql.push_str(&format!(" FROM {}", self.from.join("")));
        }
        if !self.filters.is_empty() {
            sql.push_str(&format!(" WHERE {}", self.filters.join(" AND ")));
        }
        if !self.groups.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", self.groups.join(", ")));
        }
        if let Some(having) = &self.having {
            sql.push_str(&format!(" HAVING {having}"));
        }
        if !self.windows.is_empty() {
            sql.push_str(&format!(" WINDOW {}", self.windows.join(", ")));
        }
    }
}
