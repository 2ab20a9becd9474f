//! The text of a script as records.

use std::ops::Range;

/// The database whose name the conditions of records are compared with.
const ENGINE: &str = "sqlite";

/// The threshold of a script that states none.
const THRESHOLD: usize = 8;

/// A script, without the records that are for other databases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// In their order, up to the first `halt`.
    pub records: Vec<Record>,
    /// What is not understood, and passed over.
    pub malformed: Vec<Malformed>,
}

/// Something to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The number of its first line, from 1.
    pub line: usize,
    /// What it is.
    pub task: Task,
}

/// What a record asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Statements without rows.
    Statement {
        /// Their text.
        sql: String,
        /// What must become of them.
        expected: Expectation,
    },
    /// A statement with rows.
    Query(Query),
}

/// What must become of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// It succeeds.
    Success,
    /// It fails, however.
    Failure,
}

/// A statement and its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its text.
    pub sql: String,
    /// `T`, `I` or `R` for each column.
    pub types: Vec<char>,
    /// How the values are sorted before they are compared.
    pub sort: SortMode,
    /// Queries of one label have equal values.
    pub label: Option<String>,
    /// The lines of its values, or their hash; `None` if the script has no answer yet.
    pub expected: Option<Vec<String>>,
    /// With more values than this, an answer is written as a hash; 0 for never.
    pub threshold: usize,
    /// The lines of the text, counted from 0, in which the answer stands, `----` included; where it would stand if there is none.
    pub answer_lines: Range<usize>,
}

/// How values are sorted before they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortMode {
    /// As they come.
    AsTheyCome,
    /// By rows.
    Rows,
    /// Each for itself.
    Values,
}

/// A part of a script that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Malformed {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Whether a record is for SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is.
    Holds,
    /// It is for others.
    Fails,
}

impl Script {
    /// Reads a script. What is not understood is passed over, and listed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let mut reader = Reader {
            lines: &lines,
            at: 0,
            threshold: THRESHOLD,
            script: Self::default(),
        };
        while reader.record() {}
        reader.script
    }
}

struct Reader<'t> {
    lines: &'t [&'t str],
    at: usize,
    threshold: usize,
    script: Script,
}

impl<'t> Reader<'t> {
    /// Reads a record; `false` at the end or at `halt`.
    fn record(&mut self) -> bool {
        while self
            .line()
            .is_some_and(|line| line.is_empty() || line.starts_with('#'))
        {
            self.at += 1;
        }
        let condition = self.conditions();
        let Some(first) = self.line() else {
            return false;
        };
        let line = self.at + 1;
        self.at += 1;
        let mut words = first.split_whitespace();
        let task = match words.next() {
            Some("statement") => self.statement(words.next()),
            Some("query") => self.query(words.next(), words.next(), words.next()),
            Some("hash-threshold") => {
                if let (Condition::Holds, Some(count)) =
                    (condition, words.next().and_then(|word| word.parse().ok()))
                {
                    self.threshold = count;
                }
                self.rest();
                return true;
            }
            Some("halt") => {
                self.rest();
                return condition == Condition::Fails;
            }
            _ => {
                self.rest();
                Err(format!("no record begins with `{first}`"))
            }
        };
        match (condition, task) {
            (Condition::Fails, _) => {}
            (Condition::Holds, Ok(task)) => self.script.records.push(Record { line, task }),
            (Condition::Holds, Err(message)) => {
                self.script.malformed.push(Malformed { line, message });
            }
        }
        true
    }

    fn line(&self) -> Option<&'t str> {
        self.lines.get(self.at).copied()
    }

    fn conditions(&mut self) -> Condition {
        let mut condition = Condition::Holds;
        while let Some(line) = self.line() {
            let mut words = line.split_whitespace();
            let (word, name) = (words.next(), words.next().unwrap_or_default());
            let is_ours = name.eq_ignore_ascii_case(ENGINE);
            match word {
                Some("skipif") if is_ours => condition = Condition::Fails,
                Some("onlyif") if !is_ours => condition = Condition::Fails,
                Some("skipif" | "onlyif") => {}
                _ => break,
            }
            self.at += 1;
        }
        condition
    }

    /// The lines up to the next empty one, or one that is `end`.
    fn until(&mut self, end: &str) -> String {
        let first = self.at;
        while self
            .line()
            .is_some_and(|line| !line.is_empty() && line != end)
        {
            self.at += 1;
        }
        self.lines[first..self.at].join("\n")
    }

    fn rest(&mut self) {
        self.until("");
    }

    fn statement(&mut self, expected: Option<&str>) -> Result<Task, String> {
        let sql = self.until("");
        let expected = match expected {
            Some("ok") => Expectation::Success,
            Some("error") => Expectation::Failure,
            other => {
                let other = other.unwrap_or_default();
                return Err(format!("a statement is `ok` or `error`, not `{other}`"));
            }
        };
        Ok(Task::Statement { sql, expected })
    }

    fn query(
        &mut self,
        types: Option<&str>,
        sort: Option<&str>,
        label: Option<&str>,
    ) -> Result<Task, String> {
        const ANSWER: &str = "----";
        let sql = self.until(ANSWER);
        let first = self.at;
        let expected = (self.line() == Some(ANSWER)).then(|| {
            self.at += 1;
            let values = self.at;
            self.rest();
            let lines = &self.lines[values..self.at];
            lines.iter().map(|&line| line.to_owned()).collect()
        });
        let types: Vec<char> = types.unwrap_or_default().chars().collect();
        if types.is_empty() || types.iter().any(|kind| !"TIR".contains(*kind)) {
            return Err("a query states T, I or R for each of its columns".to_owned());
        }
        let sort = match sort {
            None | Some("nosort") => SortMode::AsTheyCome,
            Some("rowsort") => SortMode::Rows,
            Some("valuesort") => SortMode::Values,
            Some(other) => return Err(format!("there is no sort mode `{other}`")),
        };
        Ok(Task::Query(Query {
            sql,
            types,
            sort,
            label: label.map(str::to_owned),
            expected,
            threshold: self.threshold,
            answer_lines: first..self.at,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(record: &Record) -> &Query {
        match &record.task {
            Task::Query(query) => query,
            Task::Statement { .. } => panic!("{record:?} is a statement"),
        }
    }

    #[test]
    fn records_end_at_empty_lines_and_answers_begin_after_dashes() {
        let script = Script::parse(
            "# a comment\nhash-threshold 3\n\nstatement ok\nCREATE TABLE t(\n  a)\n\n\
             query IT rowsort one\nSELECT a,\n  b FROM t\n----\n1\nx\n\nquery R\nSELECT 1\n",
        );
        assert_eq!(script.malformed, []);
        let [create, select, open] = &script.records[..] else {
            panic!("{script:?}");
        };
        assert_eq!(create.line, 4);
        let sql = "CREATE TABLE t(\n  a)".to_owned();
        let expected = Expectation::Success;
        assert_eq!(create.task, Task::Statement { sql, expected });
        let select = query(select);
        assert_eq!(select.sql, "SELECT a,\n  b FROM t");
        assert_eq!(select.types, ['I', 'T']);
        assert_eq!((select.sort, select.threshold), (SortMode::Rows, 3));
        assert_eq!(select.label.as_deref(), Some("one"));
        assert_eq!(
            select.expected.as_deref(),
            Some(&["1".into(), "x".into()][..])
        );
        assert_eq!(query(open).expected, None);
    }

    #[test]
    fn records_for_other_databases_are_passed_over() {
        let script = Script::parse(
            "onlyif mysql # why\nhalt\n\nskipif SQLite\nstatement ok\nA\n\n\
             skipif mysql\nskipif oracle\nstatement error\nB\n\nonlyif sqlite\nhalt\n\nstatement ok\nC\n",
        );
        assert_eq!(script.records.len(), 1, "{script:?}");
        assert_eq!(script.records[0].line, 10);
    }

    #[test]
    fn what_is_not_understood_is_listed_with_its_line() {
        let script = Script::parse(
            "DROP TABLE t\n\nstatement maybe\nA\n\nquery IX\nB\n----\n1\n\nquery I anysort\nC\n\nstatement ok\nD\n",
        );
        let lines: Vec<usize> = script.malformed.iter().map(|found| found.line).collect();
        assert_eq!(lines, [1, 3, 6, 11]);
        assert_eq!(script.records.len(), 1);
    }
}
