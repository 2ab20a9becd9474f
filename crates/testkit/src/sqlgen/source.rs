//! FROM: tables, views, common table expressions, subqueries and functions, and their joins.

use crate::sqlgen::{
    composer::Composer,
    name,
    scope::{Field, Kind, Scope, Source},
    table::PrimaryKey,
};

impl Composer<'_> {
    /// One to three joined sources, added to `scope`; each part starts with its join operator.
    pub(super) fn sources(&mut self, scope: &mut Scope<'_>) -> Vec<String> {
        let mut parts = vec![self.single_source(scope)];
        let joins = self.dice.weighted(&[(55, 0), (33, 1), (12, 2)]);
        for _ in 0..joins {
            let part = self.join(scope, joins == 1);
            parts.push(part);
        }
        parts
    }

    /// One source under a name of its own, added to `scope`.
    pub(super) fn single_source(&mut self, scope: &mut Scope<'_>) -> String {
        match self
            .dice
            .weighted(&[(74, 0), (8, 1), (8, 2), (6, 3), (4, 4)])
        {
            1 if !self.schema.views.is_empty() => {
                let view = self.dice.pick(&self.schema.views).clone();
                let source = Source {
                    fields: view.fields.clone(),
                    key: Vec::new(),
                };
                self.named_source(&view.name, source, scope)
            }
            2 if !self.tables.is_empty() => {
                let (name, source) = self.dice.pick(&self.tables).clone();
                self.named_source(&name, source, scope)
            }
            3 if self.may_nest() => self.derived_table(scope),
            4 => self.function_source(scope),
            _ => self.table_source(scope),
        }
    }

    fn table_source(&mut self, scope: &mut Scope<'_>) -> String {
        let index = self.dice.index(self.schema.tables.len());
        let table = &self.schema.tables[index];
        let source = Source::of_table(table, &self.rows[index].rows);
        let mut shown = self.named_source(&table.name, source, scope);
        if self.dice.chance(4) {
            shown.push_str(" NOT INDEXED");
        }
        if let PrimaryKey::Rowid(key) = table.primary_key
            && self.dice.chance(12)
            && let Some(field) = scope
                .sources
                .last_mut()
                .map(|source| &mut source.fields[key])
            && let Some(qualifier) = field.qualifier()
        {
            field.sql = format!(
                "{qualifier}.{}",
                self.dice.pick(&["rowid", "_rowid_", "oid"])
            );
        }
        shown
    }

    /// `name`, alone if nothing else has it in this statement, else with an alias.
    fn named_source(&mut self, name: &str, source: Source, scope: &mut Scope<'_>) -> String {
        let shown = name::quoted(name, self.dice);
        if self.dice.chance(40) && self.claim_bare(name) {
            let qualifier = name::quoted(name, self.dice);
            scope.sources.push(source.qualified(&qualifier));
            return shown;
        }
        let alias = self.alias("x");
        scope.sources.push(source.qualified(&alias));
        let word = *self.dice.pick(&[" AS ", " "]);
        format!("{shown}{word}{alias}")
    }

    fn derived_table(&mut self, scope: &mut Scope<'_>) -> String {
        let alias = self.alias("q");
        let (select, fields) = self.nested_select(&alias);
        scope.sources.push(
            Source {
                fields,
                key: Vec::new(),
            }
            .qualified(&alias),
        );
        format!("({select}) AS {alias}")
    }

    fn function_source(&mut self, scope: &mut Scope<'_>) -> String {
        if self.dice.chance(40) {
            return self.values_source(scope);
        }
        let alias = self.alias("j");
        let fields = vec![Field::computed("value", Kind::Integer, false)];
        let source = Source {
            fields,
            key: Vec::new(),
        }
        .qualified(&alias);
        let lateral = (!scope.sources.is_empty())
            .then(|| self.field(&Scope::of(scope)))
            .flatten();
        let call = match lateral {
            Some(field) => format!("json_each(json_array(length({}), 2))", field.sql),
            None => "json_each('[3,1,2,2]')".to_owned(),
        };
        scope.sources.push(source);
        format!("{call} AS {alias}")
    }

    fn values_source(&mut self, scope: &mut Scope<'_>) -> String {
        let alias = self.alias("v");
        let fields = vec![
            Field::computed("column1", Kind::Integer, false),
            Field::computed("column2", Kind::Text, false),
        ];
        scope.sources.push(
            Source {
                fields,
                key: Vec::new(),
            }
            .qualified(&alias),
        );
        format!("(VALUES (1, 'a'), (7, 'B'), (NULL, NULL), (12, 'a')) AS {alias}")
    }

    fn join(&mut self, scope: &mut Scope<'_>, only: bool) -> String {
        let lateral_allowed = scope.sources.len();
        let source = self.single_source(scope);
        let is_function = source.starts_with("json_each(json_array");
        let shared = shared_names(scope);
        if only && !shared.is_empty() && !is_function && self.dice.chance(45) {
            return self.join_by_name(scope, &source, &shared);
        }
        if lateral_allowed == 0 || is_function || self.dice.chance(12) {
            let operator = *self.dice.pick(&[", ", " CROSS JOIN ", " JOIN "]);
            return format!("{operator}{source}");
        }
        let operator = self.dice.weighted(&[
            (30, " JOIN "),
            (15, " INNER JOIN "),
            (30, " LEFT JOIN "),
            (5, " LEFT OUTER JOIN "),
            (10, " RIGHT JOIN "),
            (10, " FULL JOIN "),
        ]);
        let mut on = self.join_equality(scope);
        if self.dice.chance(10)
            && let Some(key) = self.key_predicate(scope)
        {
            on = format!("{on} AND {key}");
        }
        if self.dice.chance(20) {
            on = format!("{on} AND {}", self.predicate(scope, 0));
        }
        format!("{operator}{source} ON {on}")
    }

    fn join_by_name(&mut self, scope: &mut Scope<'_>, source: &str, shared: &[String]) -> String {
        let side = *self.dice.pick(&["", "LEFT ", "FULL ", "RIGHT "]);
        let natural = self.dice.chance(40);
        let names = if natural { shared } else { &shared[..1] };
        for shared in names {
            let mut merged = Field::computed(shared, Kind::Any, true);
            let of = |source: &Source| {
                source
                    .fields
                    .iter()
                    .find(|field| field.name == *shared)
                    .cloned()
            };
            if let Some(field) = of(&scope.sources[0]) {
                merged.collation = field.collation;
                merged.samples = field.samples;
            }
            scope.merged.push(merged);
        }
        if natural {
            return format!(" NATURAL {side}JOIN {source}");
        }
        format!(" {side}JOIN {source} USING ({})", name::ident(&names[0]))
    }

    /// Equality between the newest source and an earlier one, on its key or a column that refers to one if possible.
    fn join_equality(&mut self, scope: &Scope<'_>) -> String {
        let (newest, earlier) = scope.sources.split_last().expect("a join has two sources");
        let other = self.dice.pick(earlier);
        let right = self.join_field(newest);
        let left = self.join_field(other);
        let (a, b) = if self.dice.chance(50) {
            (left, right)
        } else {
            (right, left)
        };
        format!("{a} = {b}")
    }

    fn join_field(&mut self, source: &Source) -> String {
        let referring = source
            .fields
            .iter()
            .find(|field| field.name.starts_with("ref"));
        if let Some(field) = referring
            && self.dice.chance(40)
        {
            return field.sql.clone();
        }
        match source.key.first() {
            Some(&key) if self.dice.chance(60) => source.fields[key].sql.clone(),
            _ => self.dice.pick(&source.fields).sql.clone(),
        }
    }
}

/// Names that the newest source shares with the one before it, without regard to case.
fn shared_names(scope: &Scope<'_>) -> Vec<String> {
    let [left, right] = scope.sources.as_slice() else {
        return Vec::new();
    };
    let in_left = |name: &str| left.fields.iter().any(|field| field.name == name);
    right
        .fields
        .iter()
        .map(|field| field.name.clone())
        .filter(|name| in_left(name))
        .collect()
}
