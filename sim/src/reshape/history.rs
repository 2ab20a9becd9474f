//! Whether one copy of each key's list, which does one thing at a time, could have told clients what they were told.

use std::collections::BTreeMap;

use shardwright_testkit::history::{Append, AppendOutcome, judge_appends};

use super::{
    Reshape,
    clients::{Deed, KEYS},
};

impl Reshape {
    /// Judges what clients were told, given the values of each key at the end, in their order.
    pub(super) fn judge(&self, end: &BTreeMap<i64, Vec<i64>>) -> Result<(), String> {
        let none = Vec::new();
        for key in 1..=KEYS {
            let list = end.get(&key).unwrap_or(&none);
            let deeds = self.clients.deeds.iter();
            let deeds = deeds.filter(|(_, deed)| deed.keys.contains(&key));
            let appends: Vec<Append<i64>> = deeds.map(append).collect();
            let reads = self.clients.reads.get(&key).cloned().unwrap_or_default();
            if let Some(violation) = judge_appends(list, &appends, &reads).first() {
                return Err(format!("key {key}: {violation}"));
            }
        }
        for (value, deed) in &self.clients.deeds {
            let place = |key: &i64| end.get(key)?.iter().position(|it| it == value);
            let there: Vec<Option<usize>> = deed.keys.iter().map(place).collect();
            let is_one = there.iter().all(Option::is_some) || there.iter().all(Option::is_none);
            if !is_one {
                return Err(format!("{value} has happened in a part: {there:?}"));
            }
            let places = there
                .iter()
                .flatten()
                .map(|at| i64::try_from(*at).unwrap_or(-1));
            if let Some((_, told)) = &deed.answer
                && *told != places.clone().collect::<Vec<_>>()
            {
                return Err(format!("{value} was told {told:?}, and is at {there:?}"));
            }
        }
        if !self
            .clients
            .deeds
            .values()
            .any(|deed| deed.answer.is_some())
        {
            return Err("nothing was ever acknowledged".to_owned());
        }
        Ok(())
    }
}

fn append((value, deed): (&i64, &Deed)) -> Append<i64> {
    let outcome = match &deed.answer {
        Some((at, _)) => AppendOutcome::Acknowledged(*at),
        None if deed.is_unknown || deed.open > 0 => AppendOutcome::Unknown,
        None => AppendOutcome::Refused,
    };
    Append {
        value: *value,
        called: deed.called,
        outcome,
    }
}
