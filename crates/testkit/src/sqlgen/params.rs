//! Numbers the parameters of a finished statement.

use crate::{
    dice::Dice,
    statement::{Sequence, Statement},
    value::Value,
};

/// Gives the parameters that `statement` still mentions the numbers 1, 2, ... in the order of their first mention,
/// drops the others' values, and now and then writes `?` for all of them.
pub(super) fn settle(statement: &mut Statement, all: &[Value], dice: &mut Dice) {
    let mut order: Vec<usize> = Vec::new();
    for (_, number) in mentions(&statement.sql) {
        if !order.contains(&number) {
            order.push(number);
        }
    }
    let anonymous = mentions(&statement.sql).len() == order.len() && dice.chance(50);
    statement.sql = renumbered(&statement.sql, &order, anonymous);
    if let Sequence::Ranked { probe, .. } | Sequence::Chosen { probe } = &mut statement.sequence {
        *probe = renumbered(probe, &order, false);
    }
    statement.params = order
        .iter()
        .map(|&number| all[number - 1].clone())
        .collect();
}

fn renumbered(sql: &str, order: &[usize], anonymous: bool) -> String {
    let mut result = String::new();
    let mut copied = 0;
    for (at, number) in mentions(sql) {
        let place = order
            .iter()
            .position(|&other| other == number)
            .unwrap_or(order.len());
        result.push_str(&sql[copied..at]);
        result.push('?');
        if !anonymous {
            result.push_str(&(place + 1).to_string());
        }
        copied = at + 1 + number.to_string().len();
    }
    result.push_str(&sql[copied..]);
    result
}

/// Where `sql` says `?N` outside quotes, and N.
fn mentions(sql: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut quote = None;
    for (at, byte) in sql.bytes().enumerate() {
        match (quote, byte) {
            (Some(end), _) if byte == end => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"' | b'`') => quote = Some(byte),
            (None, b'[') => quote = Some(b']'),
            (None, b'?') => {
                let digits = sql[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
                if let Ok(number) = sql[at + 1..at + 1 + digits].parse() {
                    found.push((at, number));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_by_their_first_mention() {
        let sql = "SELECT ?3, '?1', [?1], \"it?1\", ?1, ?3";
        let mut statement = Statement::query(sql);
        let values = [Value::Integer(10), Value::Integer(20), Value::Integer(30)];
        settle(&mut statement, &values, &mut Dice::new(0));
        assert_eq!(statement.sql, "SELECT ?1, '?1', [?1], \"it?1\", ?2, ?1");
        assert_eq!(statement.params, [Value::Integer(30), Value::Integer(10)]);
    }
}
