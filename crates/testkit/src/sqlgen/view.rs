//! A view over the tables of a schema.

use crate::sqlgen::{name::ident, scope::Field};

/// A generated view.
#[derive(Clone, Debug)]
pub struct View {
    /// The name, not quoted.
    pub name: String,
    /// The columns, named by the view.
    pub(super) fields: Vec<Field>,
    /// The SELECT behind it.
    pub select: String,
}

impl View {
    /// CREATE VIEW.
    pub fn create(&self) -> String {
        let columns: Vec<String> = self.fields.iter().map(|field| ident(&field.name)).collect();
        format!(
            "CREATE VIEW {} ({}) AS {}",
            ident(&self.name),
            columns.join(", "),
            self.select
        )
    }
}
