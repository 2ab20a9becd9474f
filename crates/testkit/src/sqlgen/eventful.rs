//! Cases in which more happens: triggers, transactions with savepoints, indexes and views that come and go, and writes that read other
//! tables.

use crate::{
    dice::Dice,
    sqlgen::{
        case::{Case, Profile, Step, random_view},
        composer::Composer,
        name::ident,
        params,
        rows::{Taken, random_value},
        table::{Placement, Table},
        write::settable,
    },
    statement::Statement,
};

impl Case {
    /// As [`Case::random`], with triggers, transactions, indexes and views that come and go, and writes that read other tables. A
    /// database may refuse a trigger, and statements within a transaction.
    #[must_use]
    pub fn eventful(seed: u64, profile: Profile) -> Self {
        let mut case = Self::random(seed, profile);
        // Another sequence than the one that the case itself was made of.
        let mut dice = Dice::new(!seed);
        for table in &case.schema.tables {
            if dice.chance(25) {
                let number = case.schema.triggers.len();
                case.schema
                    .triggers
                    .extend(trigger(number, table, &mut dice));
            }
        }
        case.add_transactions(&mut dice);
        for number in 0..dice.count(2..=8) {
            let episode = match dice.index(4) {
                0 => case.unique_index(number, &mut dice),
                1 => case.temporary_view(number, &mut dice),
                2 => case.write_that_reads(&mut dice),
                _ => case.update_from(&mut dice),
            };
            let at = dice.count(0..=case.steps.len());
            case.steps.splice(at..at, episode);
        }
        case.steps.extend(case.whole_tables());
        case
    }

    /// Puts some of the steps into transactions.
    fn add_transactions(&mut self, dice: &mut Dice) {
        let mut steps = Vec::new();
        let mut left = std::mem::take(&mut self.steps).into_iter().peekable();
        while left.peek().is_some() {
            steps.extend(left.by_ref().take(dice.count(2..=20)));
            if dice.chance(50) {
                continue;
            }
            steps.push(write_of("BEGIN".to_owned()));
            for part in 0..dice.count(1..=3) {
                if part > 0 {
                    steps.push(write_of(format!("SAVEPOINT s{}", dice.index(2))));
                }
                steps.extend(left.by_ref().take(dice.count(1..=4)));
                let ending =
                    *dice.pick(&["ROLLBACK TO s0", "RELEASE s0", "ROLLBACK TO s1", "", ""]);
                if part > 0 && !ending.is_empty() {
                    steps.push(write_of(ending.to_owned()));
                }
            }
            let end = *dice.pick(&["COMMIT", "COMMIT", "END TRANSACTION", "ROLLBACK"]);
            steps.push(write_of(end.to_owned()));
            steps.extend(self.whole_tables());
        }
        self.steps = steps;
    }

    fn whole_tables(&self) -> Vec<Step> {
        let tables = self.schema.tables.iter();
        tables
            .map(|table| read_of(format!("SELECT * FROM {}", ident(&table.name))))
            .collect()
    }

    /// An index that forbids rows for a while.
    fn unique_index(&self, number: usize, dice: &mut Dice) -> Vec<Step> {
        let index = dice.index(self.schema.tables.len());
        let table = &self.schema.tables[index];
        let terms: Vec<String> = dice
            .subset(table.columns.len(), 1..=2)
            .into_iter()
            .map(|column| {
                let name = ident(&table.columns[column].name);
                let suffix = *dice.pick(&["", "", " DESC", " COLLATE NOCASE"]);
                format!("{name}{suffix}")
            })
            .collect();
        let condition = match dice.chance(30) {
            true => format!(
                " WHERE {} IS NOT NULL",
                ident(&dice.pick(&table.columns).name)
            ),
            false => String::new(),
        };
        let (name, on) = (format!("passing_{number}"), ident(&table.name));
        let create = format!(
            "CREATE UNIQUE INDEX {name} ON {on} ({}){condition}",
            terms.join(", ")
        );
        let mut steps = vec![write_of(create)];
        let mut taken = Taken::new(table);
        for _ in 0..dice.count(1..=4) {
            let verb = *dice.pick(&["INSERT", "INSERT", "INSERT OR IGNORE"]);
            let mut composer = Composer::new(dice, &self.schema, &self.rows);
            let sql = composer.insert(table, verb, &mut taken);
            let all = composer.params.take().unwrap_or_default();
            steps.push(settled(sql, &all, dice));
        }
        steps.push(read_of(format!("SELECT * FROM {on}")));
        steps.push(write_of(format!("DROP INDEX {name}")));
        steps
    }

    fn temporary_view(&self, number: usize, dice: &mut Dice) -> Vec<Step> {
        let mut view = random_view(number, &self.schema, &self.rows, dice);
        view.name = format!("passing view {number}");
        let name = ident(&view.name);
        let create = view.create().replacen("CREATE VIEW", "CREATE TEMP VIEW", 1);
        vec![
            write_of(create),
            read_of(format!("SELECT * FROM {name}")),
            read_of(format!("SELECT count(*) FROM {name} AS a, {name} AS b")),
            write_of(format!("DROP VIEW {name}")),
        ]
    }

    /// A write whose condition asks for rows of a table, perhaps of its own.
    fn write_that_reads(&self, dice: &mut Dice) -> Vec<Step> {
        let tables = &self.schema.tables;
        let (table, other) = (dice.pick(tables), dice.pick(tables));
        let (name, from) = (ident(&table.name), ident(&other.name));
        let own = ident(&dice.pick(&table.columns).name);
        let theirs = ident(&dice.pick(&other.columns).name);
        let condition = match dice.index(4) {
            0 => format!("{own} IN (SELECT {theirs} FROM {from})"),
            1 => format!(
                "{own} NOT IN (SELECT o.{theirs} FROM {from} AS o WHERE o.{theirs} IS NOT NULL)"
            ),
            2 => format!(
                "EXISTS (SELECT 1 FROM {from} AS o WHERE o.{theirs} = {name}.{own} AND o.{theirs} IS NOT {name}.{own})"
            ),
            _ => format!(
                "(SELECT count(*) FROM {from} AS o WHERE o.{theirs} < {name}.{own}) = {}",
                dice.index(4)
            ),
        };
        let columns = settable(table);
        let sql = match columns.is_empty() || dice.chance(40) {
            true => format!("DELETE FROM {name} WHERE {condition}"),
            false => {
                let column = &table.columns[*dice.pick(&columns)];
                let value = random_value(column, dice).literal();
                format!(
                    "UPDATE {name} SET {} = {value} WHERE {condition}",
                    ident(&column.name)
                )
            }
        };
        vec![write_of(sql), read_of(format!("SELECT * FROM {name}"))]
    }

    /// An UPDATE of rows by those that they refer to, of which there is one each.
    fn update_from(&self, dice: &mut Dice) -> Vec<Step> {
        let table = dice.pick(&self.schema.tables);
        let columns = settable(table);
        let single = table.foreign_keys.iter().find(|key| key.columns.len() == 1);
        let parent = single.and_then(|key| Some((key, self.schema.tables.get(key.parent)?)));
        let (Some((key, parent)), false) = (parent, columns.is_empty() || table.strict) else {
            return Vec::new();
        };
        let (name, from) = (ident(&table.name), ident(&parent.name));
        let refers = ident(&table.columns[key.columns[0]].name);
        let target = ident(&parent.columns[parent.key_columns()[0]].name);
        let column = ident(&table.columns[*dice.pick(&columns)].name);
        let value = ident(&dice.pick(&parent.columns).name);
        let sql = format!(
            "UPDATE {name} SET {column} = coalesce(p.{value}, {name}.{column}) FROM {from} AS p WHERE {name}.{refers} = p.{target}"
        );
        vec![write_of(sql), read_of(format!("SELECT * FROM {name}"))]
    }
}

fn write_of(sql: String) -> Step {
    Step {
        statement: Statement::write(sql, Vec::new()),
        query: None,
    }
}

fn read_of(sql: String) -> Step {
    let mut statement = Statement::query(sql);
    statement.tolerance.rounding = true;
    Step {
        statement,
        query: None,
    }
}

fn settled(sql: String, all: &[crate::Value], dice: &mut Dice) -> Step {
    let mut step = write_of(sql);
    params::settle(&mut step.statement, all, dice);
    step
}

/// A trigger that reaches no row but the one that it is about.
fn trigger(number: usize, table: &Table, dice: &mut Dice) -> Option<String> {
    let columns = settable(table);
    let key = table.key_columns();
    let shards_by_key = match &table.placement {
        Placement::ShardKey(column, _) => key.contains(column),
        Placement::Undeclared | Placement::Reference | Placement::Global => true,
    };
    let column = &table.columns[*columns.get(dice.index(columns.len().max(1)))?];
    let (name, on) = (ident(&column.name), ident(&table.name));
    let value = random_value(column, dice).literal();
    let (event, row, body) = match dice.index(4) {
        0 => ("BEFORE DELETE", "OLD", "SELECT RAISE(IGNORE)".to_owned()),
        1 => (
            "BEFORE UPDATE",
            "NEW",
            "SELECT RAISE(ABORT, 'not that')".to_owned(),
        ),
        kind if shards_by_key && !key.is_empty() => {
            let other = &table.columns[*dice.pick(&columns)];
            let new = random_value(other, dice).literal();
            let is_row: Vec<String> = key
                .iter()
                .map(|&column| ident(&table.columns[column].name))
                .map(|column| format!("{column} = NEW.{column}"))
                .collect();
            let event = ["AFTER INSERT", "AFTER UPDATE"][kind % 2];
            let set = ident(&other.name);
            let body = format!(
                "UPDATE {on} SET {set} = {new} WHERE {}",
                is_row.join(" AND ")
            );
            (event, "NEW", body)
        }
        _ => return None,
    };
    Some(format!(
        "CREATE TRIGGER event_{number} {event} ON {on} FOR EACH ROW WHEN {row}.{name} IS {value} BEGIN {body}; END"
    ))
}
