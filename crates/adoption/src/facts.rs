//! The facts of an adoption, kept until the checkpoint at its end: some hundred bytes for each client, channel and subscription.

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    bodies: Vec<u8>,
    /// Kind, and where the body ends.
    ends: Vec<(u8, usize)>,
}

impl Facts {
    pub(crate) fn push(&mut self, kind: u8, body: &[u8]) {
        self.bodies.extend_from_slice(body);
        self.ends.push((kind, self.bodies.len()));
    }

    /// Takes facts as they are written.
    pub(crate) fn sink(&mut self) -> impl FnMut(u8, &[u8]) + '_ {
        |kind, body| self.push(kind, body)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Kind and body of the fact at this place.
    pub(crate) fn get(&self, index: usize) -> (u8, &[u8]) {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        let (kind, end) = self.ends[index];
        (kind, &self.bodies[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_as_they_went_in() {
        let mut facts = Facts::default();
        let all: [(u8, &[u8]); 4] = [(1, b"one"), (2, b""), (1, b"three"), (7, b"x")];
        for (kind, body) in all {
            facts.push(kind, body);
        }
        assert_eq!(facts.len(), all.len());
        for (index, fact) in all.into_iter().enumerate() {
            assert_eq!(facts.get(index), fact);
        }
    }
}
