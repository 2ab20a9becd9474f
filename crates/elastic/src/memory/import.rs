//! Filling a shard in memory.

use std::collections::BTreeMap;

use shardwright_topology::{Lsn, OperationId, Position, ShardId};

use super::{
    MemoryNode,
    shard::{HeldShard, State, not_held},
};
use crate::{Changes, DigestAt, Extent, Import, Page, StoreError};

impl MemoryNode {
    pub(crate) fn imported(
        &mut self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        from: Lsn,
    ) -> Result<Import, StoreError> {
        let imports = self.filling(operation, target)?;
        let import = imports
            .entry(source.clone())
            .or_insert_with(|| Import::begun(from));
        Ok(import.clone())
    }

    pub(crate) fn import(
        &mut self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        page: Page,
    ) -> Result<Import, StoreError> {
        let (held, mut imports) = self.take_filling(operation, target)?;
        let found = imports.get_mut(source);
        let next = found.as_deref().and_then(|import| import.after_page(&page));
        if let (Some(import), Some(next)) = (found, next) {
            *import = next;
            for row in page.rows {
                let at = row.at.unwrap_or_else(|| Position::of(&row.key));
                held.put(row.key, at, Some(row.value));
            }
        }
        Self::give_back(held, operation, imports, target, source)
    }

    pub(crate) fn apply(
        &mut self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        changes: Changes,
    ) -> Result<Import, StoreError> {
        let (held, mut imports) = self.take_filling(operation, target)?;
        let found = imports.get_mut(source);
        let next = found
            .as_deref()
            .and_then(|import| import.after_changes(&changes));
        if let (Some(import), Some(next)) = (found, next) {
            *import = next;
            for change in changes.changes {
                let at = Position::of(&change.key);
                held.put(change.key, at, change.value);
            }
        }
        Self::give_back(held, operation, imports, target, source)
    }

    pub(crate) fn digest_of_import(
        &mut self,
        operation: &OperationId,
        target: &ShardId,
        source: &ShardId,
        extent: &Extent,
    ) -> Result<DigestAt, StoreError> {
        let imports = self.filling(operation, target)?;
        let applied = imports.get(source).map(|import| import.applied);
        let position = applied.ok_or_else(|| not_held(target, operation))?;
        let found = self.shard(target)?.digest(extent);
        Ok(DigestAt { position, ..found })
    }

    fn filling(
        &mut self,
        operation: &OperationId,
        target: &ShardId,
    ) -> Result<&mut BTreeMap<ShardId, Import>, StoreError> {
        let held = self.shard_mut(target)?;
        held.filling(operation)
            .ok_or_else(|| not_held(target, operation))
    }

    /// Takes the states out, so that rows can be changed beside them.
    fn take_filling(
        &mut self,
        operation: &OperationId,
        target: &ShardId,
    ) -> Result<(&mut HeldShard, BTreeMap<ShardId, Import>), StoreError> {
        let held = self.shard_mut(target)?;
        let taken = held.filling(operation).map(std::mem::take);
        let imports = taken.ok_or_else(|| not_held(target, operation))?;
        Ok((held, imports))
    }

    fn give_back(
        held: &mut HeldShard,
        operation: &OperationId,
        imports: BTreeMap<ShardId, Import>,
        target: &ShardId,
        source: &ShardId,
    ) -> Result<Import, StoreError> {
        let found = imports.get(source).cloned();
        held.state = State::Importing {
            operation: operation.clone(),
            imports,
        };
        found.ok_or_else(|| not_held(target, operation))
    }
}

impl HeldShard {
    pub(super) fn import_of(&self, source: &ShardId) -> Option<Import> {
        match &self.state {
            State::Importing { imports, .. } => imports.get(source).cloned(),
            State::Serving | State::Sealed { .. } => None,
        }
    }

    fn filling(&mut self, operation: &OperationId) -> Option<&mut BTreeMap<ShardId, Import>> {
        match &mut self.state {
            State::Importing {
                operation: by,
                imports,
            } if by == operation => Some(imports),
            State::Importing { .. } | State::Serving | State::Sealed { .. } => None,
        }
    }
}
