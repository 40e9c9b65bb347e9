//! Reads the pieces of a frame from bytes of a stranger: each piece is there as a whole, within its bounds, or it is an error.

use super::words::{FrameError, HEALTH_FLAGS, HEALTH_FULL, HEALTH_HANGING, HEALTH_LOW, Health};
use crate::identity::NodeId;
use crate::limits;
use crate::log::{Checkpoint, EntryId};
use crate::membership::Configuration;

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(FrameError::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(FrameError::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A term or an index.
    pub(super) fn number(&mut self) -> Result<u64, FrameError> {
        let number = self.u64()?;
        if number > limits::NUMBER_MAX {
            return Err(FrameError::Value("a term or an index beyond all bounds"));
        }
        Ok(number)
    }

    pub(super) fn context(&mut self, length: u8) -> Result<&'a [u8], FrameError> {
        let length = usize::from(length);
        if length > limits::CONTEXT_BYTES_MAX {
            return Err(FrameError::Value("a context that is too long"));
        }
        self.take(length)
    }

    pub(super) fn health(&mut self) -> Result<Health, FrameError> {
        let [flags, zeros @ ..] = self.array::<8>()?;
        if flags & !HEALTH_FLAGS != 0 || zeros != [0; 7] {
            return Err(FrameError::Value("an unknown state of a disk"));
        }
        Ok(Health {
            is_full: flags & HEALTH_FULL != 0,
            is_low: flags & HEALTH_LOW != 0,
            is_hanging: flags & HEALTH_HANGING != 0,
            synced: self.number()?,
        })
    }

    pub(super) fn snapshot(&mut self) -> Result<Checkpoint, FrameError> {
        let number = self.u64()?;
        let (index, term) = (self.number()?, self.number()?);
        let counts: [u8; 3] = self.array()?;
        let mut lists = [const { Vec::new() }; 3];
        for (list, count) in lists.iter_mut().zip(counts) {
            if usize::from(count) > limits::MEMBERS_MAX {
                return Err(FrameError::Value("more members than a cluster has"));
            }
            for _ in 0..count {
                list.push(NodeId::from(self.u64()?));
            }
        }
        let [voters, learners, outgoing] = lists;
        let configuration = Configuration {
            voters,
            learners,
            outgoing,
        };
        if !configuration.is_possible() {
            return Err(FrameError::Value("members that no cluster has"));
        }
        Ok(Checkpoint {
            id: EntryId { term, index },
            configuration,
            number,
        })
    }
}
