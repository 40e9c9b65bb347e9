//! How much one call of `handle` may still do: no call works for long, what is left over goes on at the end of the pass.

/// See the module; counted in units of about a send.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    /// So much may be done from here on, whatever was left.
    pub(crate) fn begin(&mut self, units: usize) {
        self.left = units;
    }

    /// What may still be done.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Spends one unit; false when there is none left.
    #[inline]
    pub(crate) fn spend(&mut self) -> bool {
        let spent = self.is_spent();
        self.charge(1);
        !spent
    }

    /// Takes away what something has cost, as far as there is as much.
    #[inline]
    pub(crate) fn charge(&mut self, units: usize) {
        self.left = self.left.saturating_sub(units);
    }

    /// At least so much may be done.
    pub(crate) fn raise_to(&mut self, units: usize) {
        self.left = self.left.max(units);
    }
}
