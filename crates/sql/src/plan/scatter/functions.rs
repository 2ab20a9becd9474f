//! Functions whose value follows from their arguments alone, whichever shard computes it.

use turso_parser::ast::{Expr, FunctionTail, Literal};

use crate::schema::fold;

const SCALARS: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "degrees",
    "exp",
    "floor",
    "format",
    "glob",
    "hex",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_object",
    "json_quote",
    "json_type",
    "json_valid",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "nullif",
    "octet_length",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "replace",
    "round",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "substr",
    "substring",
    "tan",
    "tanh",
    "trim",
    "trunc",
    "typeof",
    "unhex",
    "unicode",
    "unlikely",
    "upper",
    "zeroblob",
];

/// Those that know the time, unless they are given one.
const DATES: &[&str] = &[
    "date",
    "datetime",
    "julianday",
    "strftime",
    "time",
    "unixepoch",
];

const AGGREGATES: &[&str] = &["avg", "count", "group_concat", "string_agg", "sum", "total"];

/// Whether each shard computes the same as one file would, the expression's parts left out.
pub(super) fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::FunctionCall {
            name,
            args,
            within_group,
            filter_over,
            ..
        } => {
            let name = fold(name.as_str());
            within_group.is_empty()
                && has_no_window(filter_over)
                && (SCALARS.contains(&&*name)
                    || AGGREGATES.contains(&&*name)
                    || DATES.contains(&&*name) && has_a_time(&name, args))
        }
        Expr::FunctionCallStar { name, filter_over } => {
            fold(name.as_str()) == "count" && has_no_window(filter_over)
        }
        Expr::Literal(Literal::CurrentDate | Literal::CurrentTime | Literal::CurrentTimestamp) => {
            false
        }
        Expr::Literal(_) => true,
        Expr::Raise(..)
        | Expr::Register(_)
        | Expr::Column { .. }
        | Expr::RowId { .. }
        | Expr::FieldAccess { .. }
        | Expr::SubqueryResult { .. }
        | Expr::Default
        | Expr::Array { .. }
        | Expr::Subscript { .. } => false,
        _ => true,
    }
}

fn has_no_window(tail: &FunctionTail) -> bool {
    tail.over_clause.is_none()
}

/// Whether a function of dates is given a time that is not that of its call, and no zone of the machine that it runs on.
fn has_a_time(name: &str, args: &[Box<Expr>]) -> bool {
    let least = if name == "strftime" { 2 } else { 1 };
    let is_bound_to_the_call = |arg: &Expr| match arg {
        Expr::Literal(Literal::String(text)) => ["now", "localtime", "utc"]
            .iter()
            .any(|word| text.to_ascii_lowercase().contains(word)),
        Expr::Variable(_) => true,
        // A name in quotes that no column has is a text.
        Expr::Id(name) | Expr::Name(name) => fold(name.as_str()) == "now",
        _ => false,
    };
    args.len() >= least && !args.iter().any(|arg| is_bound_to_the_call(arg))
}

/// Whether an expression is the call of an aggregate. MIN and MAX of several values are not.
pub(super) fn is_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::FunctionCall { name, args, .. } => {
            let name = fold(name.as_str());
            AGGREGATES.contains(&&*name) || matches!(&*name, "min" | "max") && args.len() == 1
        }
        Expr::FunctionCallStar { .. } => true,
        _ => false,
    }
}
