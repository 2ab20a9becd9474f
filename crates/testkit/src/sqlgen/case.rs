//! A whole test: a schema, its rows, and statements to run on them.

use crate::{
    dice::Dice,
    sqlgen::{
        composer::Composer,
        name::ident,
        params,
        query::Query,
        rows::{self, TableRows, Taken},
        schema::Schema,
        view::View,
    },
    statement::Statement,
    value::Value,
};

/// How large a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How many statements it has, without those that load rows.
    pub statements: usize,
    /// How many of 100 statements write.
    pub writes: u32,
}

/// A generated test.
#[derive(Clone, Debug)]
pub struct Case {
    /// The seed that gives this case with the same profile.
    pub seed: u64,
    /// The schema.
    pub schema: Schema,
    /// The rows at the start, per table.
    pub rows: Vec<TableRows>,
    /// The statements that insert them.
    pub loads: Vec<Statement>,
    /// The statements to compare.
    pub steps: Vec<Step>,
}

/// A statement of a case.
#[derive(Clone, Debug)]
pub struct Step {
    /// The statement itself.
    pub statement: Statement,
    /// The parts of a SELECT, its parameters numbered as in `all_params`.
    pub query: Option<(Query, Vec<Value>)>,
}

impl Case {
    /// The case of `seed`.
    pub fn random(seed: u64, profile: Profile) -> Self {
        let mut dice = Dice::new(seed);
        let mut schema = Schema::random(&mut dice);
        let rows = rows::random_rows(&schema, &mut dice);
        for ordinal in 0..dice.weighted(&[(70, 0), (20, 1), (10, 2)]) {
            let view = random_view(ordinal, &schema, &rows, &mut dice);
            schema.views.push(view);
        }
        let mut loads = Vec::new();
        for (table, rows) in schema.tables.iter().zip(&rows) {
            let inserts = rows::inserts(table, rows, &mut dice);
            loads.extend(
                inserts
                    .into_iter()
                    .map(|(sql, params)| Statement::write(sql, params)),
            );
        }
        let mut case = Self {
            seed,
            schema,
            rows,
            loads,
            steps: Vec::new(),
        };
        case.add_steps(profile, &mut dice);
        case
    }

    /// Makes `loads` insert `rows` as they are now, one statement for each row.
    pub(crate) fn reload(&mut self) {
        self.loads.clear();
        for (table, rows) in self.schema.tables.iter().zip(&self.rows) {
            self.loads.extend(
                rows::single_inserts(table, rows).map(|sql| Statement::write(sql, Vec::new())),
            );
        }
    }

    /// Drops the table at `index` with its rows; foreign keys to it stay and refer to nothing.
    pub(crate) fn drop_table(&mut self, index: usize) {
        let name = ident(&self.schema.tables[index].name);
        self.schema.tables.remove(index);
        self.rows.remove(index);
        self.schema
            .indexes
            .retain(|sql| !sql.contains(&format!(" ON {name} (")));
        self.schema
            .triggers
            .retain(|sql| !sql.contains(&format!(" ON {name} FOR")));
        self.reload();
    }

    /// Makes `query` the last step.
    pub(crate) fn replace_last(&mut self, query: Query, all: Vec<Value>, dice: &mut Dice) {
        let mut statement = of_query(&query);
        params::settle(&mut statement, &all, dice);
        self.steps.pop();
        self.steps.push(Step {
            statement,
            query: Some((query, all)),
        });
    }

    fn add_steps(&mut self, profile: Profile, dice: &mut Dice) {
        let mut taken: Vec<Taken> = Vec::new();
        for (table, rows) in self.schema.tables.iter().zip(&self.rows) {
            let mut of_table = Taken::new(table);
            rows.rows.iter().for_each(|row| {
                of_table.claim(row);
            });
            taken.push(of_table);
        }
        for _ in 0..profile.statements {
            if dice.chance(profile.writes) {
                let table = dice.index(self.schema.tables.len());
                let write = self.write(table, &mut taken[table], dice);
                self.steps.push(write);
                let name = ident(&self.schema.tables[table].name);
                let whole = Statement::query(format!("SELECT * FROM {name}"));
                self.steps.push(Step {
                    statement: whole,
                    query: None,
                });
            } else {
                let read = self.read(dice);
                self.steps.push(read);
            }
        }
    }

    fn write(&self, table: usize, taken: &mut Taken, dice: &mut Dice) -> Step {
        let mut composer = Composer::new(dice, &self.schema, &self.rows);
        let sql = composer.write(table, taken);
        let all = composer.params.take().unwrap_or_default();
        let mut statement = Statement::write(sql, Vec::new());
        params::settle(&mut statement, &all, dice);
        Step {
            statement,
            query: None,
        }
    }

    fn read(&self, dice: &mut Dice) -> Step {
        let mut composer = Composer::new(dice, &self.schema, &self.rows);
        let query = composer.select();
        let all = composer.params.take().unwrap_or_default();
        let mut statement = of_query(&query);
        params::settle(&mut statement, &all, dice);
        statement.sql = dressed(&statement.sql, dice);
        Step {
            statement,
            query: Some((query, all)),
        }
    }
}

/// `sql` with a comment or a semicolon now and then.
fn dressed(sql: &str, dice: &mut Dice) -> String {
    match dice.index(25) {
        0 => format!("/* it's a note; */ {sql}"),
        1 => format!("-- a note\n{sql} ;"),
        2 => format!("{sql};"),
        3 => format!("\n\t{sql} -- done"),
        _ => sql.to_owned(),
    }
}

/// `query` as a statement, before its parameters are settled.
fn of_query(query: &Query) -> Statement {
    let mut statement = Statement::query(query.render());
    statement.sequence = query.sequence();
    statement.tolerance = query.tolerance;
    statement
}

pub(super) fn random_view(
    ordinal: usize,
    schema: &Schema,
    rows: &[TableRows],
    dice: &mut Dice,
) -> View {
    let name = (*dice.pick(&["summary", "Recent Orders", "v"])).to_owned() + &ordinal.to_string();
    let mut composer = Composer::new(dice, schema, rows);
    composer.params = None;
    let (select, fields) = composer.nested_select(&format!("v{ordinal}"));
    View {
        name,
        fields,
        select,
    }
}
