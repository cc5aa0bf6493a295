//! Tables for people: columns as wide as their widest cell, some spaces apart.

use std::io::{self, Write};

use super::text;

/// Rows of cells under a head.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    gap: usize,
}

impl Table {
    /// A table with these column heads, three spaces apart.
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()],
            gap: 3,
        }
    }

    /// The same table with so many spaces between columns.
    #[must_use]
    pub fn gap(self, gap: usize) -> Self {
        Self { gap, ..self }
    }

    /// Adds a row; control characters of its cells are taken out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = cells.into_iter().map(|cell| text::clean_name(&cell));
        self.rows.push(clean.collect());
    }

    /// Writes head and rows; no line has trailing spaces.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = text::width(cell).max(*width);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                let padding = width - text::width(cell) + self.gap;
                line.extend(std::iter::repeat_n(' ', padding));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_width() {
        let mut table = Table::new(&["NAME", "SIZE"]);
        table.row(["日本".to_owned(), "1B".to_owned()]);
        table.row(["a-long\x1b[2J-name".to_owned(), "22B".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "NAME          SIZE\n日本          1B\na-long-name   22B\n"
        );
    }
}
