//! From what each directory gave to one list in tree order.

use std::collections::BTreeMap;

use crate::context::index::{Block, Visited};
use crate::tree::{Entry, Kind, TreePath};

/// One directory's entries.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) id: usize,
    pub(super) path: Vec<u8>,
    pub(super) slots: Vec<Slot>,
    pub(super) block: Option<Block>,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: Entry,
    /// Device and inode of a file with several names.
    pub(super) shared: Option<(u64, u64)>,
    /// The chunk of a directory that is walked.
    pub(super) below: Option<usize>,
    /// Whether it is there only for what is below it.
    pub(super) provisional: bool,
}

/// Puts chunks together in tree order; of a file with several names the first is the file.
pub(super) fn assemble(mut chunks: Vec<Chunk>) -> (Vec<Entry>, Vec<Visited>) {
    let total = chunks.iter().map(|chunk| chunk.slots.len()).sum();
    chunks.sort_unstable_by_key(|chunk| chunk.id);
    let mut assembly = Assembly {
        entries: Vec::with_capacity(total),
        slots: BTreeMap::new(),
        names: BTreeMap::new(),
    };
    let mut visited = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        assembly.slots.insert(chunk.id, chunk.slots);
        visited.push((chunk.path, chunk.block));
    }
    visited.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    assembly.chunk(0);
    (assembly.entries, visited)
}

struct Assembly {
    entries: Vec<Entry>,
    slots: BTreeMap<usize, Vec<Slot>>,
    names: BTreeMap<(u64, u64), TreePath>,
}

impl Assembly {
    /// Adds a chunk and what is below it. As deep as paths can be, which is bounded.
    fn chunk(&mut self, id: usize) {
        for mut slot in self.slots.remove(&id).unwrap_or_default() {
            if let Some(shared) = slot.shared {
                match self.names.get(&shared) {
                    Some(first) => {
                        slot.entry.kind = Kind::Hardlink {
                            target: first.clone(),
                        };
                    }
                    None => drop(self.names.insert(shared, slot.entry.path.clone())),
                }
            }
            self.entries.push(slot.entry);
            let before = self.entries.len();
            if let Some(below) = slot.below {
                self.chunk(below);
            }
            if slot.provisional && self.entries.len() == before {
                self.entries.pop();
            }
        }
    }
}
