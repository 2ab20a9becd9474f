//! Random schemas, rows and statements: a sharded database against one SQLite database.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use shardwright_testkit::{
    Answer, Database, Failure, FailureKind, ForeignKeys, Oracle, Statement, Value, Verdict, judge,
    minimise, sqlgen::Case,
};

/// Makes the databases that cases run on.
pub trait Maker: fmt::Display {
    /// An empty database.
    fn create(&self) -> Box<dyn Database>;

    /// A database with the tables and rows of a SQLite file.
    ///
    /// # Errors
    /// Why the file cannot be imported.
    fn import(&self, file: &Path) -> Result<Box<dyn Database>, Failure>;
}

/// How the rows of a case get into the sharded database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By its own statements.
    Statements,
    /// From the file of the other database.
    Import,
}

/// What happened to the statements of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Answers that are those of SQLite.
    pub equal: usize,
    /// Those of them that the shards answered for their own rows.
    pub scattered: usize,
    /// Statements that both databases call wrong.
    pub invalid: usize,
    /// Statements that cost too much.
    pub exhausted: usize,
    /// Cases that ended in a write that only some shards did.
    pub partial: usize,
    /// Writes that were refused, by code.
    pub refused: BTreeMap<String, usize>,
}

/// How a case can go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The answer differs from SQLite's.
    Wrong(String),
    /// A SELECT was refused.
    RefusedSelect(String),
    /// The database panicked.
    Crashed(String),
    /// The case itself does not work on SQLite.
    BadCase(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(how) => write!(f, "a wrong answer\n{how}"),
            Self::RefusedSelect(how) => write!(f, "a SELECT is refused\n{how}"),
            Self::Crashed(how) => write!(f, "a panic\n{how}"),
            Self::BadCase(how) => write!(f, "a case that SQLite does not take\n{how}"),
        }
    }
}

/// The first trouble of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The number of the step in which it was, if it was in one.
    pub step: Option<usize>,
    /// What it is.
    pub trouble: Trouble,
}

/// Both databases of one case.
struct Pair {
    oracle: Oracle,
    tested: Box<dyn Database>,
    /// Whether a transaction is open in both.
    in_transaction: bool,
}

/// Runs a case up to the first trouble, and counts.
///
/// # Errors
/// The trouble.
pub fn run(
    case: &Case,
    maker: &dyn Maker,
    origin: Origin,
    tally: &mut Tally,
) -> Result<(), Box<Found>> {
    let pair = match origin {
        Origin::Statements => by_statements(case, maker),
        Origin::Import => by_import(case, maker),
    };
    let found = |step, trouble| Box::new(Found { step, trouble });
    let mut pair = pair.map_err(|trouble| found(None, trouble))?;
    for (number, step) in case.steps.iter().enumerate() {
        let go_on = play(&mut pair, &step.statement, tally);
        if !go_on.map_err(|trouble| found(Some(number), trouble))? {
            break;
        }
    }
    Ok(())
}

/// Runs a step; `false` if the case cannot go on after it.
fn play(pair: &mut Pair, statement: &Statement, tally: &mut Tally) -> Result<bool, Trouble> {
    let actual = asked(&mut *pair.tested, statement)?;
    if matches!(&actual, Err(failure) if failure.message.starts_with("PARTIAL_WRITE")) {
        // Best effort left the databases different, and said so.
        tally.partial += 1;
        return Ok(false);
    }
    match judge(&mut pair.oracle, statement, &actual) {
        Verdict::Equal => {
            tally.equal += 1;
            tally.scattered += usize::from(is_scattered(pair, statement));
            match statement.sql.as_str() {
                "BEGIN" => pair.in_transaction = true,
                "COMMIT" | "END TRANSACTION" | "ROLLBACK" => pair.in_transaction = false,
                _ => {}
            }
        }
        Verdict::Invalid => tally.invalid += 1,
        Verdict::Exhausted => tally.exhausted += 1,
        Verdict::Refused(why) if statement.writes => {
            let code = why.split(':').next().unwrap_or_default().to_owned();
            *tally.refused.entry(code).or_default() += 1;
        }
        // A transaction on one shard after the other does not read several at once.
        Verdict::Refused(_) if pair.in_transaction => {
            *tally
                .refused
                .entry("reads in transactions".to_owned())
                .or_default() += 1;
        }
        Verdict::Refused(why) => {
            return Err(Trouble::RefusedSelect(format!("{statement}\n  {why}")));
        }
        Verdict::Wrong(how) => return Err(Trouble::Wrong(how)),
    }
    Ok(true)
}

/// Whether the shards answer a statement for their own rows.
fn is_scattered(pair: &mut Pair, statement: &Statement) -> bool {
    if statement.writes || pair.in_transaction {
        return false;
    }
    let sql = format!("EXPLAIN SHARDS {}", statement.sql);
    let explained = pair.tested.execute(&sql, &statement.params);
    let way = explained
        .ok()
        .and_then(|explained| explained.rows.into_iter().flatten().next());
    matches!(way, Some(Value::Text(way)) if way == b"scatter")
}

fn asked(
    tested: &mut dyn Database,
    statement: &Statement,
) -> Result<Result<Answer, Failure>, Trouble> {
    let ask = || tested.execute(&statement.sql, &statement.params);
    catch_unwind(AssertUnwindSafe(ask)).map_err(|_| Trouble::Crashed(statement.to_string()))
}

fn by_statements(case: &Case, maker: &dyn Maker) -> Result<Pair, Trouble> {
    let mut oracle = Oracle::in_memory(ForeignKeys::Ignored).map_err(bad_case)?;
    let mut tested = maker.create();
    for sql in case.schema.statements() {
        match tested.execute(&sql, &[]) {
            Err(failure) if is_declined(case, &sql, &failure) => continue,
            made => made
                .map(drop)
                .map_err(|failure| Trouble::Wrong(format!("{sql}\n  the answer is {failure}")))?,
        }
        oracle.execute(&sql, &[]).map_err(bad_case)?;
    }
    let mut pair = Pair {
        oracle,
        tested,
        in_transaction: false,
    };
    for load in &case.loads {
        let actual = asked(&mut *pair.tested, load)?;
        if let Verdict::Wrong(how) = judge(&mut pair.oracle, load, &actual) {
            return Err(Trouble::Wrong(how));
        }
    }
    Ok(pair)
}

fn by_import(case: &Case, maker: &dyn Maker) -> Result<Pair, Trouble> {
    let mut oracle = Oracle::in_memory(ForeignKeys::Ignored).map_err(bad_case)?;
    for sql in case.schema.statements() {
        oracle.execute(&sql, &[]).map_err(bad_case)?;
    }
    for load in &case.loads {
        oracle.execute(&load.sql, &load.params).map_err(bad_case)?;
    }
    let directory = tempfile::tempdir()
        .map_err(|error| Trouble::BadCase(format!("no temporary directory: {error}")))?;
    let file = directory.path().join("one.db");
    oracle.save(&file).map_err(bad_case)?;
    let tested = maker.import(&file).map_err(|failure| {
        // A trigger that is refused cannot be left out of a file.
        match failure.kind == FailureKind::Refused && !case.schema.triggers.is_empty() {
            true => bad_case(failure),
            false => Trouble::Wrong(format!("the import fails: {failure}")),
        }
    })?;
    Ok(Pair {
        oracle,
        tested,
        in_transaction: false,
    })
}

/// Whether a trigger was refused by a rule; then both databases do without it.
fn is_declined(case: &Case, sql: &String, failure: &Failure) -> bool {
    failure.kind == FailureKind::Refused && case.schema.triggers.contains(sql)
}

fn bad_case(failure: Failure) -> Trouble {
    Trouble::BadCase(failure.to_string())
}

/// The text of a failure: its seed, and the smallest case that shows it, as a script.
#[must_use]
pub fn report(mut case: Case, maker: &dyn Maker, origin: Origin, step: Option<usize>) -> String {
    case.steps.truncate(step.map_or(0, |step| step + 1));
    let seed = case.seed;
    let fails = |case: &Case| match run(case, maker, origin, &mut Tally::default()) {
        Err(found) if matches!(found.trouble, Trouble::BadCase(_)) => false,
        Err(found) => found.step == case.steps.len().checked_sub(1),
        Ok(()) => false,
    };
    let case = minimise(case, fails);
    let Err(found) = run(&case, maker, origin, &mut Tally::default()) else {
        return format!("seed {seed}, {maker}: fails only now and then");
    };
    let statements = case.schema.statements().into_iter();
    let loads = case.loads.iter().map(ToString::to_string);
    let steps = case.steps.iter().map(|step| step.statement.to_string());
    let script: Vec<String> = statements.chain(loads).chain(steps).collect();
    format!(
        "seed {seed}, {maker}: {}\n\n{}",
        found.trouble,
        script.join(";\n")
    )
}
