//! Call records as Apache Parquet: times are TIMESTAMP(MICROS, UTC), amounts DECIMAL(18, 9), each column may be empty. No compression, so
//! that the library needs no codecs; dictionaries make the files small.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::columns::{Cell, Column, Form};
use crate::store::calls::CallRow;

/// Rows of a row group: what is held in memory until it is written.
pub const GROUP: usize = 20_000;
/// Nano-units that DECIMAL(18, 9) does not hold.
const TOO_MUCH: i64 = 1_000_000_000_000_000_000;

/// A Parquet file that is being written.
pub struct ParquetFile<W: Write + Send> {
    out: SerializedFileWriter<W>,
    columns: Vec<&'static Column>,
    held: Vec<CallRow>,
}

impl<W: Write + Send> ParquetFile<W> {
    /// A file with these columns.
    pub fn new(out: W, columns: Vec<&'static Column>) -> io::Result<Self> {
        let schema = parse_message_type(&schema(&columns)).map_err(broken)?;
        let out = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(WriterProperties::default()));
        Ok(Self { out: out.map_err(broken)?, columns, held: Vec::new() })
    }

    /// Takes rows, and writes them when there are enough for a row group.
    pub fn write(&mut self, rows: Vec<CallRow>) -> io::Result<()> {
        self.held.extend(rows);
        if self.held.len() >= GROUP { self.group() } else { Ok(()) }
    }

    /// All rows are written, and the footer.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.held.is_empty() {
            self.group()?;
        }
        self.out.into_inner().map_err(broken)
    }

    fn group(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.held);
        let mut group = self.out.next_row_group().map_err(broken)?;
        for column in &self.columns {
            let missing = || io::Error::other("a column of the schema is missing");
            let mut writer = group.next_column().map_err(broken)?.ok_or_else(missing)?;
            let cells = rows.iter().map(|row| (column.of)(row));
            let levels: Vec<i16> = cells.clone().map(|c| i16::from(c != Cell::Empty)).collect();
            let written = match writer.untyped() {
                ColumnWriter::ByteArrayColumnWriter(typed) => {
                    let values: Vec<ByteArray> = cells
                        .filter_map(|c| match c {
                            Cell::Text(text) => Some(text.into_owned().into_bytes().into()),
                            _ => None,
                        })
                        .collect();
                    typed.write_batch(&values, Some(&levels), None)
                }
                ColumnWriter::Int64ColumnWriter(typed) => {
                    let mut values = Vec::with_capacity(rows.len());
                    for cell in cells {
                        match cell {
                            Cell::Money(n) if n.checked_abs().is_none_or(|n| n >= TOO_MUCH) => {
                                return Err(io::Error::other(
                                    "an amount has more than nine places before the point",
                                ));
                            }
                            Cell::Int(n) | Cell::Time(n) | Cell::Money(n) => values.push(n),
                            _ => {}
                        }
                    }
                    typed.write_batch(&values, Some(&levels), None)
                }
                ColumnWriter::BoolColumnWriter(typed) => {
                    let flag = |c| if let Cell::Flag(flag) = c { Some(flag) } else { None };
                    typed.write_batch(&cells.filter_map(flag).collect::<Vec<bool>>(), Some(&levels), None)
                }
                _ => return Err(io::Error::other("a column of a type that the schema does not have")),
            };
            written.map_err(broken)?;
            writer.close().map_err(broken)?;
        }
        group.close().map_err(broken)?;
        Ok(())
    }
}

fn schema(columns: &[&'static Column]) -> String {
    let mut out = String::from("message call {");
    for column in columns {
        let (kind, logical) = match column.form {
            Form::Text => ("binary", " (STRING)"),
            Form::Int => ("int64", ""),
            Form::Time => ("int64", " (TIMESTAMP(MICROS,true))"),
            Form::Money => ("int64", " (DECIMAL(18,9))"),
            Form::Flag => ("boolean", ""),
        };
        out.push_str(&format!(" optional {kind} {}{logical};", column.name));
    }
    out.push_str(" }");
    out
}

fn broken(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(io) => *io,
            Err(other) => io::Error::other(other.to_string()),
        },
        other => io::Error::other(other.to_string()),
    }
}
