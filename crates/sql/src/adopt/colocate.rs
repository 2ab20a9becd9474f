//! Which tables live with which: foreign keys that make a child share the key space of its parent.

use std::{cmp::Reverse, collections::BTreeSet};

use super::infer::{Draft, Drafts, Inference, Origin};
use crate::{
    error::Error,
    schema::{Affinity, Declaration, ForeignKey, Generated, NullKeys, Table, fold},
};

/// Below so many rows for each key, a key is good however few there are.
const ROWS_PER_KEY_MAX: u64 = 16;

/// From so many keys for each shard on, keys are good however many rows they have.
const KEYS_PER_SHARD_MIN: u64 = 32;

/// A foreign key by which a child could live with its parent.
struct Edge<'a> {
    child: &'a Table,
    parent: &'a Table,
    column: usize,
    rows: u64,
    /// The place of the foreign key among those of the child.
    order: usize,
}

/// Joins children to their parents, the largest child first: it gains most from joins that stay on one shard. A table
/// is either a parent or a child, never both, since it has one key.
pub(super) fn join(inference: &Inference<'_>, drafts: &mut Drafts) -> Result<(), Error> {
    let mut edges = edges(inference, drafts)?;
    edges.sort_by_key(|edge| (Reverse(edge.rows), edge.order, fold(&edge.child.name)));
    let mut parents: BTreeSet<String> = BTreeSet::new();
    let mut children: BTreeSet<String> = BTreeSet::new();
    for (name, draft) in drafts.iter() {
        if let Declaration::Sharded {
            colocate_with: Some(with),
            ..
        } = &draft.declaration
        {
            parents.insert(fold(with));
            children.insert(name.clone());
        }
    }
    for edge in edges {
        let (child, parent) = (fold(&edge.child.name), fold(&edge.parent.name));
        if parents.contains(&child) || children.contains(&child) || children.contains(&parent) {
            continue;
        }
        let Some(draft) = drafts.get_mut(&child) else {
            continue;
        };
        if accept(inference, &edge, draft)? {
            parents.insert(parent);
            children.insert(child);
        }
    }
    Ok(())
}

fn edges<'a>(inference: &Inference<'a>, drafts: &Drafts) -> Result<Vec<Edge<'a>>, Error> {
    let mut edges = Vec::new();
    for (name, draft) in drafts {
        let child = inference.table(name)?;
        if !matches!(draft.declaration, Declaration::Sharded { .. })
            || draft.origin == Origin::Declared
        {
            continue;
        }
        for (order, key) in child.foreign_keys.iter().enumerate() {
            let Some(parent) = inference.plain.table(&key.parent) else {
                continue;
            };
            let parent_draft = drafts.get(&fold(&parent.name));
            if let Some(column) = tie(child, key, parent, parent_draft) {
                edges.push(Edge {
                    child,
                    parent,
                    column,
                    rows: inference.statistics.rows(child)?,
                    order,
                });
            }
        }
    }
    Ok(edges)
}

/// Returns the child's column if the foreign key ties it to the parent's shard key for good.
fn tie(
    child: &Table,
    key: &ForeignKey,
    parent: &Table,
    parent_draft: Option<&Draft>,
) -> Option<usize> {
    let Declaration::Sharded { shard_key, .. } = &parent_draft?.declaration else {
        return None;
    };
    let ([column], [primary]) = (&key.columns[..], &parent.primary_key[..]) else {
        return None;
    };
    let referred = match key.parent_columns.first() {
        Some(name) => parent.resolve(name)?,
        None => *primary,
    };
    let changes_key = [&key.on_delete, &key.on_update]
        .iter()
        .any(|action| action.to_ascii_uppercase().starts_with("SET"));
    let (own, other) = (&child.columns[*column], &parent.columns[*primary]);
    let compares_alike =
        class(own.affinity) == class(other.affinity) && own.collation == other.collation;
    let fits = referred == *primary
        && parent.resolve(shard_key) == Some(*primary)
        && !parent.name.eq_ignore_ascii_case(&child.name)
        && !changes_key
        && compares_alike
        && own.generated == Generated::Ordinary;
    fits.then_some(*column)
}

fn class(affinity: Affinity) -> Affinity {
    if affinity.is_numeric() {
        Affinity::Numeric
    } else {
        affinity
    }
}

/// Makes the child live with its parent if its rows allow it. If not, says why.
fn accept(inference: &Inference<'_>, edge: &Edge<'_>, draft: &mut Draft) -> Result<bool, Error> {
    let Declaration::Sharded {
        shard_key,
        colocate_with,
        null_keys,
    } = &mut draft.declaration
    else {
        return Ok(false);
    };
    let (child, parent) = (edge.child, &edge.parent.name);
    let column = &child.columns[edge.column];
    if draft.origin == Origin::Asked {
        if child.resolve(shard_key) != Some(edge.column) {
            return Ok(false);
        }
    } else {
        let nulls = inference.statistics.nulls(child, column)?;
        if nulls > 0 {
            draft.reasons.push(format!(
                "not with {parent}: {nulls} rows have no {}",
                column.name
            ));
            return Ok(false);
        }
        let distinct = inference.statistics.distinct(child, column)?;
        if !spreads(edge.rows, distinct, inference.shards) {
            draft.reasons.push(format!(
                "not with {parent}: {distinct} different {} would spread its {} rows badly",
                column.name, edge.rows
            ));
            return Ok(false);
        }
        draft.distinct_keys = Some(distinct);
        draft.reasons.clear();
        *null_keys = if column.not_null {
            NullKeys::Refuse
        } else {
            NullKeys::Keep
        };
    }
    shard_key.clone_from(&column.name);
    *colocate_with = Some(parent.clone());
    draft.reasons.push(format!(
        "lives with {parent}, whose key {} refers to",
        column.name
    ));
    Ok(true)
}

fn spreads(rows: u64, distinct: u64, shards: u64) -> bool {
    distinct >= KEYS_PER_SHARD_MIN * shards || rows <= ROWS_PER_KEY_MAX * distinct
}
