//! Random schemas: tables that refer to one another, and indexes.

use crate::{
    dice::Dice,
    sqlgen::{
        column::{Collation, Column},
        content::Content,
        name::{self, ident},
        table::{ForeignKey, Placement, PrimaryKey, Table},
        view::View,
    },
};

/// A generated schema.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The tables; a foreign key refers to an earlier table or to its own.
    pub tables: Vec<Table>,
    /// CREATE INDEX statements.
    pub indexes: Vec<String>,
    /// Views over the tables.
    pub views: Vec<View>,
    /// CREATE TRIGGER statements. A database may refuse one by a rule of its own, and then does without it.
    pub triggers: Vec<String>,
}

impl Schema {
    /// A schema of one to six tables, without views.
    pub fn random(dice: &mut Dice) -> Self {
        let mut schema = Self::default();
        let count = dice.weighted(&[(15, 1), (25, 2), (30, 3), (20, 4), (7, 5), (3, 6)]);
        let mut names = name::TABLES.to_vec();
        dice.shuffle(&mut names);
        for name in names.into_iter().take(count) {
            let table = random_table(name, &schema.tables, dice);
            schema.tables.push(table);
        }
        for index in 0..schema.tables.len() {
            for ordinal in 0..dice.weighted(&[(60, 0), (30, 1), (10, 2)]) {
                let name = format!("index_{index}_{ordinal}");
                let sql = random_index(&name, &schema.tables[index], dice);
                schema.indexes.push(sql);
            }
        }
        schema
    }

    /// Every statement that creates the schema, in order.
    pub fn statements(&self) -> Vec<String> {
        let tables = self.tables.iter().map(Table::create);
        let views = self.views.iter().map(View::create);
        tables
            .chain(self.indexes.iter().cloned())
            .chain(views)
            .chain(self.triggers.iter().cloned())
            .collect()
    }
}

fn random_table(name: &str, earlier: &[Table], dice: &mut Dice) -> Table {
    let strict = dice.chance(12);
    let mut names = name::COLUMNS.to_vec();
    dice.shuffle(&mut names);
    let mut names = names.into_iter();
    let mut table = Table {
        name: name.to_owned(),
        columns: Vec::new(),
        primary_key: PrimaryKey::None,
        without_rowid: false,
        strict,
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        placement: Placement::Undeclared,
    };
    add_key(&mut table, earlier, &mut names, dice);
    let plain = dice.count(1..=4);
    table.columns.extend(
        names
            .by_ref()
            .take(plain)
            .map(|name| Column::random(name, strict, dice)),
    );
    if !earlier.is_empty() && dice.chance(40) {
        let parent = dice.index(earlier.len());
        add_reference(&mut table, parent, &earlier[parent], dice);
    } else if dice.chance(10) {
        let own = table.clone();
        add_reference(&mut table, earlier.len(), &own, dice);
    }
    if !strict && dice.chance(20) {
        add_generated(&mut table, dice);
    }
    if dice.chance(12) {
        add_unique(&mut table, dice);
    }
    table.placement = random_placement(&table, earlier, dice);
    table
}

fn add_key<'a>(
    table: &mut Table,
    earlier: &[Table],
    names: &mut impl Iterator<Item = &'a str>,
    dice: &mut Dice,
) {
    let strict = table.strict;
    match dice.weighted(&[(45, 0), (20, 1), (20, 2), (5, 3), (10, 4)]) {
        0 => {
            table
                .columns
                .push(Column::new("id", "INTEGER", Content::RowKey));
            table.primary_key = PrimaryKey::Rowid(0);
        }
        1 => {
            let content = *dice.pick(&[Content::Word, Content::OddText, Content::Date]);
            let mut column = Column::new("code", "TEXT", content);
            if dice.chance(30) {
                column.collation = *dice.pick(&Collation::ALL);
            }
            finish_key(table, vec![column], dice);
        }
        2 => {
            let mut first = Column::new("k1", "INTEGER", Content::SmallInt);
            let declared = if strict { "TEXT" } else { "" };
            let second = Column::new(names.next().unwrap_or("k2"), declared, Content::Word);
            if let Some(parent) = earlier
                .iter()
                .position(|parent| parent.key_columns().len() == 1)
                && !strict
                && dice.chance(50)
            {
                let key = &earlier[parent].columns[earlier[parent].key_columns()[0]];
                first = Column {
                    name: "parent_key".to_owned(),
                    ..key.clone()
                };
                first.content = Content::Parent;
                (first.check, first.default) = (None, None);
                table
                    .foreign_keys
                    .push(reference(vec![0], parent, &earlier[parent]));
            }
            finish_key(table, vec![first, second], dice);
        }
        3 => {
            let content = *dice.pick(&[Content::WideInt, Content::Dyadic, Content::Mixed]);
            let declared = if strict { "ANY" } else { "NUMERIC" };
            finish_key(table, vec![Column::new("k", declared, content)], dice);
        }
        _ => {}
    }
}

fn finish_key(table: &mut Table, columns: Vec<Column>, dice: &mut Dice) {
    table.columns = columns;
    table.without_rowid = dice.chance(35);
    for column in &mut table.columns {
        column.not_null = true;
    }
    table.primary_key = PrimaryKey::Columns((0..table.columns.len()).collect());
}

fn add_reference(table: &mut Table, parent: usize, target: &Table, dice: &mut Dice) {
    let key = target.key_columns();
    if key.is_empty() || (table.strict && !target.strict) {
        return;
    }
    let first = table.columns.len();
    for (ordinal, &column) in key.iter().enumerate() {
        let of_parent = &target.columns[column];
        let mut column = Column::new(
            &format!("ref{ordinal}"),
            &of_parent.declared,
            Content::Parent,
        );
        column.collation = of_parent.collation;
        column.not_null = dice.chance(20);
        table.columns.push(column);
    }
    let columns = (first..table.columns.len()).collect();
    table.foreign_keys.push(reference(columns, parent, target));
}

fn reference(columns: Vec<usize>, parent: usize, target: &Table) -> ForeignKey {
    ForeignKey {
        columns,
        parent,
        parent_name: target.name.clone(),
    }
}

fn add_generated(table: &mut Table, dice: &mut Dice) {
    let source = ident(&table.columns[dice.index(table.columns.len())].name);
    let expression = match dice.index(5) {
        0 => format!("upper({source})"),
        1 => format!("length({source})"),
        2 => format!("{source} * 2"),
        3 => format!("coalesce({source}, 'none')"),
        _ => format!("typeof({source}) || ':' || substr({source}, 1, 2)"),
    };
    let storage = *dice.pick(&["STORED", "VIRTUAL"]);
    let declared = *dice.pick(&["", "TEXT", "INTEGER"]);
    let mut column = Column::new("computed", declared, Content::Computed);
    column.generated = Some((expression, storage));
    table.columns.push(column);
}

fn add_unique(table: &mut Table, dice: &mut Dice) {
    let roomy = |column: &Column| {
        matches!(
            column.content,
            Content::OddText | Content::Date | Content::Money
        ) && column.generated.is_none()
    };
    let candidates: Vec<usize> = (0..table.columns.len())
        .filter(|&column| roomy(&table.columns[column]))
        .collect();
    if !candidates.is_empty() {
        table.uniques.push(vec![*dice.pick(&candidates)]);
    }
}

fn random_placement(table: &Table, earlier: &[Table], dice: &mut Dice) -> Placement {
    let key = table.key_columns();
    if key.is_empty() {
        let places = [
            Placement::Undeclared,
            Placement::Reference,
            Placement::Global,
        ];
        return dice.pick(&places).clone();
    }
    match dice.weighted(&[(45, 0), (30, 1), (8, 2), (10, 3), (7, 4)]) {
        0 => Placement::Undeclared,
        1 => {
            let column = *dice.pick(&key);
            let with = table
                .foreign_keys
                .iter()
                .find(|reference| reference.columns == [column])
                .and_then(|reference| earlier.get(reference.parent))
                .filter(|parent| is_sharded_by_key(parent))
                .map(|parent| parent.name.clone());
            Placement::ShardKey(column, with)
        }
        2 => Placement::ShardKey(*dice.pick(&table.stored_columns()), None),
        3 => Placement::Reference,
        _ => Placement::Global,
    }
}

/// Whether the whole key of `table` is one column, and its shard key too.
fn is_sharded_by_key(table: &Table) -> bool {
    let key = table.key_columns();
    match table.placement {
        Placement::Undeclared => key.len() == 1,
        Placement::ShardKey(column, _) => key == [column],
        Placement::Reference | Placement::Global => false,
    }
}

fn random_index(name: &str, table: &Table, dice: &mut Dice) -> String {
    let columns = dice.subset(table.columns.len(), 1..=2);
    let mut terms: Vec<String> = Vec::new();
    for column in columns {
        let mut term = ident(&table.columns[column].name);
        match dice.index(6) {
            0 => term.push_str(" COLLATE NOCASE"),
            1 => term.push_str(" DESC"),
            2 => term = format!("lower({term})"),
            _ => {}
        }
        terms.push(term);
    }
    let partial = if dice.chance(20) {
        let column = ident(&dice.pick(&table.columns).name);
        format!(" WHERE {column} IS NOT NULL")
    } else {
        String::new()
    };
    format!(
        "CREATE INDEX {name} ON {} ({}){partial}",
        ident(&table.name),
        terms.join(", ")
    )
}
