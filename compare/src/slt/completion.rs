//! Writes the answers of SQLite into a script.

use shardwright_sql::statement::split;
use shardwright_testkit::{Database, Failure};

use super::{
    rendering::{Renderer, Style, hash_line, sorted},
    script::{Query, Script, Task},
};

/// The text of a script with the answers that `oracle` gives, an empty SQLite database, in place of those that it has. All else stays as
/// it is.
///
/// # Errors
/// When SQLite does not take a statement that must succeed or takes one that must fail, when it does not answer a query, or when the text
/// has a part that is not understood.
pub fn complete(text: &str, oracle: &mut dyn Database) -> anyhow::Result<String> {
    let script = Script::parse(text);
    if let Some(malformed) = script.malformed.into_iter().next() {
        return Err(malformed.into());
    }
    let renderer = Renderer::new()?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut answers = Vec::new();
    for record in &script.records {
        let at = |failure: &Failure| anyhow::anyhow!("line {}: {failure}", record.line);
        match &record.task {
            Task::Statement { sql, expected } => {
                let mut parts = split(sql).into_iter();
                let ran = parts.try_for_each(|part| oracle.execute(part, &[]).map(drop));
                let must_succeed = *expected == super::Expectation::Success;
                match ran {
                    Err(failure) if must_succeed => return Err(at(&failure)),
                    Ok(()) if !must_succeed => anyhow::bail!("line {}: it succeeds", record.line),
                    Ok(()) | Err(_) => {}
                }
            }
            Task::Query(query) => {
                let answer = oracle
                    .execute(&query.sql, &[])
                    .map_err(|failure| at(&failure))?;
                anyhow::ensure!(
                    answer.columns.len() == query.types.len(),
                    "line {}: {} columns are stated, and SQLite returns {}",
                    record.line,
                    query.types.len(),
                    answer.columns.len()
                );
                let rows = renderer.rows(&query.types, &answer.rows, Style::Now)?;
                answers.push((query, answer_of(query, &sorted(rows, query.sort))));
            }
        }
    }
    // From the end, so that the numbers of the lines before it stay.
    for (query, answer) in answers.into_iter().rev() {
        lines.splice(query.answer_lines.clone(), answer);
    }
    Ok(lines.join("\n") + "\n")
}

fn answer_of(query: &Query, values: &[String]) -> Vec<String> {
    let mut answer = vec!["----".to_owned()];
    if query.threshold > 0 && values.len() > query.threshold {
        answer.push(hash_line(values));
    } else {
        answer.extend_from_slice(values);
    }
    answer
}

#[cfg(test)]
mod tests {
    use shardwright_testkit::{ForeignKeys, Oracle};

    use super::*;

    fn completed(text: &str) -> anyhow::Result<String> {
        complete(text, &mut Oracle::in_memory(ForeignKeys::Ignored).unwrap())
    }

    #[test]
    fn answers_take_the_place_of_those_that_were_there() {
        let found = completed(
            "hash-threshold 2\n\nquery I\nSELECT 1\n\n# more\nquery IT rowsort\nVALUES (2, 'b'), (1, 'a')\n----\n9\n9\n9\n\nquery I\nSELECT 3\n----",
        );
        assert_eq!(
            found.unwrap(),
            "hash-threshold 2\n\nquery I\nSELECT 1\n----\n1\n\n# more\nquery IT rowsort\nVALUES (2, 'b'), (1, 'a')\n----\n\
             4 values hashing to dcb405d9ab483907f29736a07728fa2d\n\nquery I\nSELECT 3\n----\n3\n"
        );
    }

    #[test]
    fn what_sqlite_does_not_do_is_no_answer() {
        for text in [
            "statement ok\nSELECT nothing",
            "statement error\nSELECT 1",
            "query I\nSELECT 1, 2",
            "nonsense",
        ] {
            assert!(completed(text).is_err(), "{text}");
        }
    }
}
