//! A row of an answer, whoever gave it.

use crate::error::Error;

/// A row of an answer. Columns count from 0; what is NULL is 0, false or empty.
pub struct Row<'a> {
    cells: &'a dyn Cells,
    place: &'a str,
}

/// A driver's row.
pub(crate) trait Cells {
    fn number(&self, column: usize) -> Result<i128, String>;
    fn bytes(&self, column: usize) -> Result<&[u8], String>;
}

impl<'a> Row<'a> {
    pub(crate) fn new(cells: &'a dyn Cells, place: &'a str) -> Row<'a> {
        Row { cells, place }
    }

    /// A number that cannot be negative.
    ///
    /// # Errors
    /// The column holds none.
    pub fn unsigned(&self, column: usize) -> Result<u64, Error> {
        let number = self.number(column)?;
        u64::try_from(number).map_err(|_| self.error(column, &format!("{number} is not between 0 and 2^64 - 1")))
    }

    /// A number.
    ///
    /// # Errors
    /// The column holds none.
    pub fn signed(&self, column: usize) -> Result<i64, Error> {
        let number = self.number(column)?;
        i64::try_from(number).map_err(|_| self.error(column, &format!("{number} does not have 64 bits")))
    }

    /// True or false.
    ///
    /// # Errors
    /// The column holds neither.
    pub fn flag(&self, column: usize) -> Result<bool, Error> {
        self.number(column).map(|number| number != 0)
    }

    /// Bytes, or those of a text.
    ///
    /// # Errors
    /// The column holds something else.
    pub fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        self.cells.bytes(column).map_err(|problem| self.error(column, &problem))
    }

    fn number(&self, column: usize) -> Result<i128, Error> {
        self.cells
            .number(column)
            .map_err(|problem| self.error(column, &problem))
    }

    fn error(&self, column: usize, problem: &str) -> Error {
        Error::new(self.place, format!("column {} of a row: {problem}", column + 1))
    }
}
