//! Names of tables and columns, plain and odd, and how they are quoted.

use crate::dice::Dice;

pub(super) const TABLES: &[&str] = &[
    "users",
    "orders",
    "order_items",
    "products",
    "events",
    "tags",
    "Order Details",
    "group",
    "größe",
    "we\"ird",
    "select",
    "Accounts",
    "t",
    "日本",
];

pub(super) const COLUMNS: &[&str] = &[
    "a",
    "b",
    "c",
    "name",
    "price",
    "qty",
    "note",
    "state",
    "created",
    "Unit Price",
    "order",
    "größe",
    "say \"hi\"",
    "from",
    "it's",
    "Kind",
];

/// Words among the names above that SQL needs for itself.
const RESERVED: &[&str] = &["group", "select", "order", "from"];

/// `name` as SQL reads it, quoted only if it must be.
pub(super) fn ident(name: &str) -> String {
    if is_plain(name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// `name` as SQL reads it, in one of the ways to quote.
pub(super) fn quoted(name: &str, dice: &mut Dice) -> String {
    match dice.index(10) {
        0 if !name.contains(']') => format!("[{name}]"),
        1 if !name.contains('`') => format!("`{name}`"),
        2 => format!("\"{}\"", name.replace('"', "\"\"")),
        _ => ident(name),
    }
}

fn is_plain(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word) && !RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::ident;

    #[test]
    fn odd_names_are_quoted() {
        assert_eq!(ident("users"), "users");
        assert_eq!(ident("group"), "\"group\"");
        assert_eq!(ident("we\"ird"), "\"we\"\"ird\"");
    }
}
