//! A stream: what a connection would be, from one request to the next.

use shardwright_sql::{
    Answer,
    schema::Schema,
    statement::{StatementKind, kind_by_first_word, split},
};

use super::{
    control::{Control, words},
    error::StatementError,
    request::Text,
    texts::Texts,
};
use crate::gateway::{Begin, Call, Client, Refusal, Transaction};

/// What a stream has. Dropping it rolls back its transaction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) texts: Texts,
    transaction: Option<Transaction>,
    /// Whether its client has said that foreign keys need not be kept.
    ignores_foreign_keys: bool,
    is_closed: bool,
}

/// What a statement gave.
pub(super) enum Given {
    /// It is about the stream alone.
    Nothing,
    Answer(Answer),
}

impl Stream {
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Ends it, and rolls back what it has begun.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.transaction = None;
    }

    /// Whether there is a transaction that has not been committed or rolled back by its client.
    pub(super) fn has_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Returns the one statement of a text.
    pub(super) fn statement<'a>(&'a self, text: &'a Text) -> Result<&'a str, StatementError> {
        match split(self.text(text)?)[..] {
            [one] => Ok(one),
            [] => Err(StatementError::new(
                "SQL_NO_STATEMENT",
                "the text has no statement",
            )),
            _ => Err(StatementError::new(
                "SQL_MANY_STATEMENTS",
                "the text has several statements: send them as a sequence or as a batch",
            )),
        }
    }

    /// Returns a text, given or stored.
    pub(super) fn text<'a>(&'a self, text: &'a Text) -> Result<&'a str, StatementError> {
        match (&text.sql, text.sql_id) {
            (Some(sql), None) => Ok(sql),
            (None, Some(id)) => Ok(self.texts.get(id)?),
            _ => Err(StatementError::new(
                "BAD_REQUEST",
                "a statement has either `sql` or `sql_id`",
            )),
        }
    }

    /// Runs one statement. `is_all` says that, if it succeeds, COMMIT follows at once.
    pub(super) async fn run(
        &mut self,
        client: &Client,
        call: &Call,
        is_all: bool,
    ) -> Result<Given, StatementError> {
        let ran = match Control::of(&call.sql) {
            Some(control) => self.control(client, control).await.map(|()| Given::Nothing),
            None => {
                self.check_foreign_keys(client, &call.sql).await?;
                let answer = match &mut self.transaction {
                    Some(transaction) => transaction.execute(call, is_all).await,
                    None => client.run(call).await,
                };
                answer.map(Given::Answer)
            }
        };
        match ran {
            Ok(given) => Ok(given),
            Err(refusal) => Err(StatementError::of(refusal, client).await),
        }
    }

    async fn control(&mut self, client: &Client, control: Control) -> Result<(), Refusal> {
        match control {
            Control::Begin(begin) => self.begin(client, begin),
            Control::Commit => match self.transaction.take() {
                Some(mut transaction) => {
                    let committed = transaction.commit().await;
                    if committed.is_err() && transaction.is_open() {
                        // As SQLite does, it stays open to be mended.
                        self.transaction = Some(transaction);
                    }
                    committed
                }
                None => Err(refused("cannot commit - no transaction is active")),
            },
            Control::Rollback => match self.transaction.take() {
                Some(mut transaction) => transaction.rollback().await,
                None => Err(refused("cannot rollback - no transaction is active")),
            },
            Control::ForeignKeys(is_on) => {
                // SQLite does nothing either while a transaction is open.
                if !self.has_transaction() {
                    self.ignores_foreign_keys = !is_on;
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, client: &Client, begin: Begin) -> Result<(), Refusal> {
        if self.has_transaction() {
            return Err(refused("cannot start a transaction within a transaction"));
        }
        self.transaction = Some(client.begin(begin));
        Ok(())
    }

    /// Foreign keys are always kept. Where that would change rows that its client does not expect to be changed, a statement is refused.
    async fn check_foreign_keys(
        &mut self,
        client: &Client,
        sql: &str,
    ) -> Result<(), StatementError> {
        if !self.ignores_foreign_keys || !may_cascade(sql) {
            return Ok(());
        }
        let database = client.database().await;
        if database.is_some_and(|database| has_cascades(&database.schema())) {
            return Err(StatementError::new(
                "UNSUPPORTED",
                "foreign keys with CASCADE, SET NULL or SET DEFAULT are kept also with foreign_keys off, so this statement may change other rows than its own (run PRAGMA foreign_keys = on first, if it is to)",
            ));
        }
        Ok(())
    }
}

/// Whether a statement may delete or change rows that others refer to.
fn may_cascade(sql: &str) -> bool {
    let mut words = words(sql).map(str::to_ascii_uppercase);
    match kind_by_first_word(sql) {
        StatementKind::Ddl => words.next().as_deref() == Some("DROP"),
        StatementKind::Write => {
            let is_plain = words.next().as_deref() == Some("INSERT")
                && words.next().as_deref() == Some("INTO");
            !is_plain || words.any(|word| word == "CONFLICT")
        }
        StatementKind::Read => words.next().as_deref() == Some("WITH"),
        StatementKind::Pragma
        | StatementKind::Explain
        | StatementKind::Transaction
        | StatementKind::Other => false,
    }
}

fn has_cascades(schema: &Schema) -> bool {
    let acts = |action: &str| !matches!(action, "NO ACTION" | "RESTRICT");
    schema.tables().any(|table| {
        let mut keys = table.foreign_keys.iter();
        keys.any(|key| acts(&key.on_delete) || acts(&key.on_update))
    })
}

/// What SQLite says of a statement that does not fit the state of its connection.
fn refused(message: &str) -> Refusal {
    Refusal {
        code: "SQL_ERROR".to_owned(),
        message: message.to_owned(),
        hint: None,
        is_retryable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_take_rows_away_may_cascade() {
        for (sql, expect) in [
            ("SELECT 1", false),
            ("INSERT INTO t VALUES (1)", false),
            ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", true),
            ("INSERT OR REPLACE INTO t VALUES (1)", true),
            ("REPLACE INTO t VALUES (1)", true),
            ("UPDATE t SET a = 1", true),
            ("DELETE FROM t", true),
            ("WITH a AS (SELECT 1) DELETE FROM t", true),
            ("DROP TABLE t", true),
            ("CREATE TABLE t(a)", false),
            ("ALTER TABLE t ADD COLUMN b", false),
        ] {
            assert_eq!(may_cascade(sql), expect, "{sql}");
        }
    }

    #[test]
    fn a_text_has_one_statement() {
        let mut stream = Stream::default();
        stream.texts.store(3, "SELECT 3;".to_owned()).unwrap();
        let code = |text: &Text| {
            let statement = stream.statement(text).map(str::to_owned);
            statement.map_err(|error| error.code)
        };
        let sql = |sql: &str| Text {
            sql: Some(sql.to_owned()),
            sql_id: None,
        };
        let stored = |id| Text {
            sql: None,
            sql_id: Some(id),
        };
        assert_eq!(
            code(&sql("SELECT 1 -- one")),
            Ok("SELECT 1 -- one".to_owned())
        );
        assert_eq!(code(&stored(3)), Ok("SELECT 3".to_owned()));
        let refused = |code: &str| Err(code.to_owned());
        assert_eq!(code(&stored(4)), refused("SQL_STORE_NOT_FOUND"));
        assert_eq!(code(&sql(" ; ")), refused("SQL_NO_STATEMENT"));
        assert_eq!(
            code(&sql("SELECT 1; SELECT 2")),
            refused("SQL_MANY_STATEMENTS")
        );
        assert_eq!(code(&Text::default()), refused("BAD_REQUEST"));
    }
}
