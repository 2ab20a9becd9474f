//! The statements that make what a database has, in an order that works.

use shardwright_sql::{
    Error,
    schema::{Declaration, NullKeys, Schema, SchemaObject, quote_identifier},
};

use super::order::{declared, made};
use crate::failure::Failure;

/// The statement that makes one thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Definition {
    /// What is made, as SQLite will list it.
    pub(super) object: SchemaObject,
    pub(super) sql: String,
}

impl Definition {
    pub(super) fn is_table(&self) -> bool {
        self.object.kind == "table"
    }
}

/// The statements that make the tables, each with a comment that says where its rows live.
///
/// # Errors
/// [`Failure::DeclaredOtherwise`] for one that says something else itself.
pub(super) fn tables(schema: &Schema) -> anyhow::Result<Vec<Definition>> {
    let objects = &schema.stored().objects;
    let mut statements = Vec::new();
    for name in made(schema) {
        let is_it = |object: &&SchemaObject| object.kind == "table" && object.name == name;
        let Some(object) = objects.iter().find(is_it) else {
            continue;
        };
        let sql = match declared(schema, &name) {
            Some(declaration) => with_comment(object, declaration)?,
            None => object.sql.clone(),
        };
        statements.push(Definition {
            object: object.clone(),
            sql,
        });
    }
    Ok(statements)
}

/// The statements that make indexes, views and triggers: when the rows are there, so that no trigger sees them come.
pub(super) fn others(schema: &Schema) -> Vec<Definition> {
    let objects = &schema.stored().objects;
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object.kind == kind);
    let others = of_kind("index")
        .chain(of_kind("view"))
        .chain(of_kind("trigger"));
    others
        .map(|object| Definition {
            object: object.clone(),
            sql: object.sql.clone(),
        })
        .collect()
}

/// The statements that set what a file says of itself.
pub(super) fn pragmas(schema: &Schema) -> Vec<String> {
    let stored = schema.stored();
    let said = [
        ("user_version", stored.user_version),
        ("application_id", stored.application_id),
    ];
    let said = said.into_iter().filter(|(_, value)| *value != 0);
    said.map(|(name, value)| format!("PRAGMA {name} = {value}"))
        .collect()
}

/// The statement, with the comment unless it has one that says the same.
fn with_comment(object: &SchemaObject, declaration: &Declaration) -> anyhow::Result<String> {
    let said: Result<Option<Declaration>, Error> = Declaration::in_comment(&object.sql);
    match said? {
        Some(said) if said == *declaration => Ok(object.sql.clone()),
        Some(_) => {
            let table = object.name.clone();
            Err(Failure::DeclaredOtherwise { table }.into())
        }
        // On a line of its own: the statement may end with a comment to the end of its line.
        None => Ok(format!(
            "{}\n/* shardwright: {} */",
            object.sql,
            words(declaration)
        )),
    }
}

fn words(declaration: &Declaration) -> String {
    match declaration {
        Declaration::Reference => "reference".to_owned(),
        Declaration::Global => "global".to_owned(),
        Declaration::Sharded {
            shard_key,
            colocate_with,
            null_keys,
        } => {
            let mut words = format!("shard_key={}", quote_identifier(shard_key));
            if let Some(with) = colocate_with {
                words.push_str(&format!(" colocate_with={}", quote_identifier(with)));
            }
            if *null_keys == NullKeys::Keep {
                words.push_str(" null_keys=keep");
            }
            words
        }
    }
}

#[cfg(test)]
mod tests {
    use shardwright_sql::schema::StoredSchema;

    use super::*;

    fn schema(statements: &[(&str, &str, &str)], declared: &[(&str, Declaration)]) -> Schema {
        let objects = statements.iter().map(|(kind, name, sql)| SchemaObject {
            kind: (*kind).to_owned(),
            name: (*name).to_owned(),
            table: (*name).to_owned(),
            sql: (*sql).to_owned(),
        });
        let declarations = declared.iter();
        let stored = StoredSchema {
            objects: objects.collect(),
            declarations: declarations
                .map(|(name, declaration)| ((*name).to_owned(), declaration.clone()))
                .collect(),
            encoding: "UTF-8".to_owned(),
            user_version: 3,
            application_id: 0,
        };
        Schema::derive(stored).expect("a schema")
    }

    fn sharded(key: &str, with: Option<&str>) -> Declaration {
        Declaration::Sharded {
            shard_key: key.to_owned(),
            colocate_with: with.map(str::to_owned),
            null_keys: NullKeys::Refuse,
        }
    }

    #[test]
    fn those_that_others_refer_to_come_first_and_each_says_what_it_is() {
        let schema = schema(
            &[
                (
                    "table",
                    "orders",
                    "CREATE TABLE orders(id INTEGER PRIMARY KEY, who INT REFERENCES people(id)) -- why",
                ),
                (
                    "table",
                    "people",
                    "CREATE TABLE people(id INTEGER PRIMARY KEY, boss REFERENCES people)",
                ),
                (
                    "table",
                    "codes",
                    "CREATE TABLE codes(code TEXT PRIMARY KEY) /* shardwright: reference */",
                ),
            ],
            &[
                ("orders", sharded("who", Some("people"))),
                ("people", sharded("id", None)),
                ("codes", Declaration::Reference),
            ],
        );
        assert_eq!(made(&schema), ["people", "orders", "codes"]);
        let statements = tables(&schema).unwrap();
        assert!(
            statements[0]
                .sql
                .ends_with("\n/* shardwright: shard_key=\"id\" */")
        );
        assert!(
            statements[1]
                .sql
                .ends_with("-- why\n/* shardwright: shard_key=\"who\" colocate_with=\"people\" */")
        );
        assert!(
            statements[2]
                .sql
                .ends_with(") /* shardwright: reference */")
        );
        for statement in &statements {
            let read = Declaration::in_comment(&statement.sql).unwrap();
            assert_eq!(read.as_ref(), declared(&schema, &statement.object.name));
        }
        assert_eq!(pragmas(&schema), ["PRAGMA user_version = 3"]);
    }

    #[test]
    fn a_comment_that_says_something_else_is_refused() {
        let schema = schema(
            &[(
                "table",
                "codes",
                "CREATE TABLE codes(code TEXT PRIMARY KEY) /* shardwright: reference */",
            )],
            &[("codes", Declaration::Global)],
        );
        let error = tables(&schema).unwrap_err();
        assert!(error.to_string().contains("codes"), "{error}");
    }
}
