//! Writes a table as a Parquet file whose bytes depend on the rows alone: no clock, no name of a machine, one
//! `created_by`, one order of columns, one compression. Knows columns, and not what they mean.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use numpy::PyReadonlyArray1;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use xxhash_rust::xxh3::Xxh3;

use super::RecordingsError;

/// A Parquet file that is written row group by row group. It takes its name when it is finished.
#[pyclass(module = "rollback_py._rollback", frozen)]
pub(crate) struct TableWriter {
    /// In a box: the hasher is aligned to 64 bytes, and Python aligns its objects to 16.
    open: Mutex<Option<Box<Open>>>,
}

struct Open {
    path: PathBuf,
    /// Where the rows go until the table is finished.
    partial: PathBuf,
    writer: Option<SerializedFileWriter<BufWriter<File>>>,
    columns: Vec<Column>,
    hasher: Xxh3,
    rows: u64,
}

/// What a column holds, and whether a row may have none of it.
#[derive(Clone)]
struct Column {
    kind: Kind,
    is_optional: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Integer,
    Real,
    Text,
    Bytes,
    Reals,
    Integers,
}

/// The values of a column in some rows.
enum Values {
    Bools(Vec<Option<bool>>),
    Integers(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Bytes(Vec<Option<Vec<u8>>>),
    RealLists(Vec<Option<Vec<f64>>>),
    IntegerLists(Vec<Option<Vec<i64>>>),
}

#[pymethods]
impl TableWriter {
    /// Begins a file. Each column has a name, a kind, and whether it may have no value.
    #[new]
    fn new(path: PathBuf, columns: Vec<(String, String, bool)>) -> Result<Self, RecordingsError> {
        let mut schema = "message rollback {".to_owned();
        let mut kinds = Vec::new();
        for (name, kind, is_optional) in columns {
            let kind = Kind::from_name(&kind).ok_or(RecordingsError::ColumnKind(kind))?;
            schema.push_str(&kind.field(&name, is_optional));
            kinds.push(Column { kind, is_optional });
        }
        schema.push('}');
        let failed = |source| parquet_error(&path, source);
        let schema = Arc::new(parse_message_type(&schema).map_err(failed)?);
        let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(level))
            .build();
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial);
        let file = BufWriter::new(file.map_err(|error| RecordingsError::file(&partial, error))?);
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties));
        let writer = Some(writer.map_err(|source| parquet_error(&path, source))?);
        let (hasher, columns) = (Xxh3::new(), kinds);
        let open = Open { path, partial, writer, columns, hasher, rows: 0 };
        Ok(Self { open: Mutex::new(Some(Box::new(open))) })
    }

    /// Writes a row group: for each column, a value of each row.
    fn write(&self, columns: Vec<Vec<Bound<'_, PyAny>>>) -> Result<(), RecordingsError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_mut().ok_or(RecordingsError::TableFinished)?.write(&columns)
    }

    /// How many rows were written.
    #[getter]
    fn rows(&self) -> u64 {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map_or(0, |open| open.rows)
    }

    /// The hash of all values so far, row by row: it depends on no compression and no version of the format.
    #[getter]
    fn digest(&self) -> Result<String, RecordingsError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or(RecordingsError::TableFinished)?;
        Ok(format!("{:032x}", open.hasher.digest128()))
    }

    /// Closes the file with these texts beside the rows, and gives it its name.
    fn finish(&self, metadata: Vec<(String, String)>) -> Result<(), RecordingsError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        open.ok_or(RecordingsError::TableFinished)?.finish(metadata)
    }
}

impl Open {
    fn write(&mut self, columns: &[Vec<Bound<'_, PyAny>>]) -> Result<(), RecordingsError> {
        let rows = self.check(columns)?;
        let mut values = Vec::with_capacity(columns.len());
        for (index, (column, given)) in self.columns.iter().zip(columns).enumerate() {
            let column_values = column.kind.extract(given)?;
            let missing = (0..rows).find(|row| column_values.is_missing(*row));
            if let Some(row) = missing.filter(|_| !column.is_optional) {
                return Err(RecordingsError::MissingValue { column: index, row });
            }
            values.push(column_values);
        }
        for row in 0..rows {
            values.iter().for_each(|values| values.hash(row, &mut self.hasher));
        }
        let writer = self.writer.as_mut().ok_or(RecordingsError::TableFinished)?;
        let written = write_group(writer, &self.columns, &values);
        written.map_err(|source| parquet_error(&self.path, source))?;
        self.rows += rows as u64;
        Ok(())
    }

    /// How many rows there are, the same in all columns.
    fn check(&self, columns: &[Vec<Bound<'_, PyAny>>]) -> Result<usize, RecordingsError> {
        let expected = columns.first().map_or(0, Vec::len);
        let wrong = columns.iter().position(|column| column.len() != expected);
        let wrong = wrong.or((columns.len() != self.columns.len()).then_some(columns.len()));
        if let Some(column) = wrong {
            let got = columns.get(column).map_or(0, Vec::len);
            let columns = self.columns.len();
            return Err(RecordingsError::ColumnLength { columns, expected, column, got });
        }
        Ok(expected)
    }

    fn finish(mut self, metadata: Vec<(String, String)>) -> Result<(), RecordingsError> {
        let mut writer = self.writer.take().ok_or(RecordingsError::TableFinished)?;
        for (key, value) in metadata {
            writer.append_key_value_metadata(KeyValue::new(key, value));
        }
        let file = writer.into_inner().map_err(|source| parquet_error(&self.path, source))?;
        let failed = |error| RecordingsError::file(&self.partial, error);
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&self.partial, &self.path)
            .map_err(|error| RecordingsError::file(&self.path, error))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Of a table that was not finished nothing stays. After `finish` there is nothing to remove.
        let _ = std::fs::remove_file(&self.partial);
    }
}

impl Kind {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "int64" => Self::Integer,
            "double" => Self::Real,
            "text" => Self::Text,
            "bytes" => Self::Bytes,
            "doubles" => Self::Reals,
            "int64s" => Self::Integers,
            _ => return None,
        })
    }

    /// The column in the language of Parquet's schemas.
    fn field(self, name: &str, is_optional: bool) -> String {
        let repetition = if is_optional { "optional" } else { "required" };
        let list = |element: &str| {
            format!(
                "{repetition} group {name} (LIST) {{ repeated group list {{ required {element} element; }} }} "
            )
        };
        match self {
            Self::Bool => format!("{repetition} boolean {name}; "),
            Self::Integer => format!("{repetition} int64 {name}; "),
            Self::Real => format!("{repetition} double {name}; "),
            Self::Text => format!("{repetition} binary {name} (STRING); "),
            Self::Bytes => format!("{repetition} binary {name}; "),
            Self::Reals => list("double"),
            Self::Integers => list("int64"),
        }
    }

    fn extract(self, values: &[Bound<'_, PyAny>]) -> PyResult<Values> {
        Ok(match self {
            Self::Bool => Values::Bools(each(values, |value| value.extract())?),
            Self::Integer => Values::Integers(each(values, |value| value.extract())?),
            Self::Real => Values::Reals(each(values, |value| value.extract())?),
            Self::Text => Values::Bytes(each(values, |value| {
                Ok(value.cast::<PyString>()?.to_cow()?.into_owned().into_bytes())
            })?),
            Self::Bytes => Values::Bytes(each(values, |value| {
                Ok(value.cast::<PyBytes>()?.as_bytes().to_vec())
            })?),
            Self::Reals => Values::RealLists(each(values, |value| {
                let array: PyReadonlyArray1<'_, f64> = value.extract()?;
                Ok(array.as_array().to_vec())
            })?),
            Self::Integers => Values::IntegerLists(each(values, |value| value.extract())?),
        })
    }
}

/// Each value, or that there is none.
fn each<T>(
    values: &[Bound<'_, PyAny>],
    extract: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<Option<T>>> {
    let value = |value: &Bound<'_, PyAny>| {
        if value.is_none() { Ok(None) } else { extract(value).map(Some) }
    };
    values.iter().map(value).collect()
}

impl Values {
    fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Bools(values) => at(values, row).is_none(),
            Self::Integers(values) => at(values, row).is_none(),
            Self::Reals(values) => at(values, row).is_none(),
            Self::Bytes(values) => at(values, row).is_none(),
            Self::RealLists(values) => at(values, row).is_none(),
            Self::IntegerLists(values) => at(values, row).is_none(),
        }
    }

    /// Hashes the value of a row: 0 for none; else 1 and the value, little-endian, after its length if that varies.
    fn hash(&self, row: usize, hasher: &mut Xxh3) {
        match self {
            Self::Bools(values) => put(hasher, at(values, row), |hasher, value| {
                hasher.update(&[u8::from(*value)]);
            }),
            Self::Integers(values) => put(hasher, at(values, row), |hasher, value| {
                hasher.update(&value.to_le_bytes());
            }),
            Self::Reals(values) => put(hasher, at(values, row), |hasher, value| {
                hasher.update(&value.to_le_bytes());
            }),
            Self::Bytes(values) => put(hasher, at(values, row), |hasher, value| {
                put_length(hasher, value.len());
                hasher.update(value);
            }),
            Self::RealLists(values) => put(hasher, at(values, row), |hasher, list| {
                put_length(hasher, list.len());
                list.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
            }),
            Self::IntegerLists(values) => put(hasher, at(values, row), |hasher, list| {
                put_length(hasher, list.len());
                list.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
            }),
        }
    }
}

fn put<T>(hasher: &mut Xxh3, value: Option<&T>, put_value: impl Fn(&mut Xxh3, &T)) {
    hasher.update(&[u8::from(value.is_some())]);
    if let Some(value) = value {
        put_value(hasher, value);
    }
}

fn put_length(hasher: &mut Xxh3, length: usize) {
    hasher.update(&(length as u64).to_le_bytes());
}

fn at<T>(values: &[Option<T>], row: usize) -> Option<&T> {
    values.get(row).and_then(Option::as_ref)
}

fn write_group(
    writer: &mut SerializedFileWriter<BufWriter<File>>,
    columns: &[Column],
    values: &[Values],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for (column, values) in columns.iter().zip(values) {
        write_column(&mut group, column, values)?;
    }
    group.close().map(drop)
}

fn write_column(
    group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>,
    column: &Column,
    values: &Values,
) -> Result<(), ParquetError> {
    let Some(mut writer) = group.next_column()? else {
        return Err(ParquetError::General("more columns than the schema has".to_owned()));
    };
    let is_optional = column.is_optional;
    match values {
        Values::Bools(values) => {
            let (present, levels) = present(values, is_optional, |value| *value);
            writer.typed::<BoolType>().write_batch(&present, levels.as_deref(), None)?;
        }
        Values::Integers(values) => {
            let (present, levels) = present(values, is_optional, |value| *value);
            writer.typed::<Int64Type>().write_batch(&present, levels.as_deref(), None)?;
        }
        Values::Reals(values) => {
            let (present, levels) = present(values, is_optional, |value| *value);
            writer.typed::<DoubleType>().write_batch(&present, levels.as_deref(), None)?;
        }
        Values::Bytes(values) => {
            let bytes = |value: &Vec<u8>| ByteArray::from(value.clone());
            let (present, levels) = present(values, is_optional, bytes);
            writer.typed::<ByteArrayType>().write_batch(&present, levels.as_deref(), None)?;
        }
        Values::RealLists(lists) => {
            let (flat, levels, repeats) = elements(lists, is_optional);
            writer.typed::<DoubleType>().write_batch(&flat, Some(&levels), Some(&repeats))?;
        }
        Values::IntegerLists(lists) => {
            let (flat, levels, repeats) = elements(lists, is_optional);
            writer.typed::<Int64Type>().write_batch(&flat, Some(&levels), Some(&repeats))?;
        }
    }
    writer.close()
}

/// The values there are, and for a column that may have none, the definition level of each row.
fn present<T, P>(
    values: &[Option<T>],
    is_optional: bool,
    convert: impl Fn(&T) -> P,
) -> (Vec<P>, Option<Vec<i16>>) {
    let levels = values.iter().map(|value| i16::from(value.is_some())).collect();
    (values.iter().flatten().map(convert).collect(), is_optional.then_some(levels))
}

/// The elements of all lists, with their definition and repetition levels (Dremel's, as Parquet has them).
fn elements<T: Copy>(lists: &[Option<Vec<T>>], is_optional: bool) -> (Vec<T>, Vec<i16>, Vec<i16>) {
    let (mut flat, mut levels, mut repeats) = (Vec::new(), Vec::new(), Vec::new());
    let empty = i16::from(is_optional);
    for list in lists {
        let list = list.as_deref();
        if list.is_none_or(<[T]>::is_empty) {
            levels.push(if list.is_none() { 0 } else { empty });
            repeats.push(0);
        }
        for (index, element) in list.into_iter().flatten().enumerate() {
            flat.push(*element);
            levels.push(empty + 1);
            repeats.push(i16::from(index > 0));
        }
    }
    (flat, levels, repeats)
}

fn parquet_error(path: &Path, source: ParquetError) -> RecordingsError {
    RecordingsError::Parquet { path: path.display().to_string(), source }
}

/// What wrote the file. It changes only when the same rows would be written as other bytes.
const CREATED_BY: &str = "rollback-py table 1";

/// The level of compression that zstd itself takes for the default.
const ZSTD_LEVEL: i32 = 3;
