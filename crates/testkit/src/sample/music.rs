//! A shop that sells music.

use super::{Sample, cents, date, int, name, or_null, text};
use crate::dice::Dice;

pub(super) fn build(dice: &mut Dice) -> Sample {
    let mut sample = Sample::new("music", SCHEMA);
    catalogue(&mut sample, dice);
    sales(&mut sample, dice);
    for sql in QUERIES {
        sample.ask(sql);
    }
    for sql in ORDERED {
        sample.ask_ordered(sql);
    }
    sample
}

fn catalogue(sample: &mut Sample, dice: &mut Dice) {
    sample.fill("Genre", 8, |id| {
        vec![int(id), text(format!("Genre {}", id % 5))]
    });
    sample.fill("MediaType", 3, |id| {
        vec![int(id), text(format!("Format {id}"))]
    });
    sample.fill("Artist", 25, |id| {
        vec![int(id), or_null(8, text(name(id)), dice)]
    });
    sample.fill("Album", 40, |id| {
        vec![
            int(id),
            text(format!("Album {}", name(id * 3))),
            int(dice.between(1..=25)),
        ]
    });
    sample.fill("Track", 220, |id| {
        vec![
            int(id),
            text(format!("Song {}", id % 180)),
            or_null(5, int(dice.between(1..=40)), dice),
            int(dice.between(1..=3)),
            or_null(5, int(dice.between(1..=8)), dice),
            or_null(30, text(name(id % 17)), dice),
            int(dice.between(60_000..=600_000)),
            or_null(5, int(dice.between(1_000_000..=20_000_000)), dice),
            cents(*dice.pick(&[99, 99, 99, 199])),
        ]
    });
    sample.fill("Playlist", 6, |id| {
        vec![int(id), text(format!("List {id}"))]
    });
    sample.fill("PlaylistTrack", 120, |id| vec![int(id % 5 + 1), int(id)]);
}

fn sales(sample: &mut Sample, dice: &mut Dice) {
    sample.fill("Employee", 8, |id| {
        let chief = if id == 1 {
            crate::value::Value::Null
        } else {
            int((id / 2).max(1))
        };
        vec![
            int(id),
            text(name(id)),
            text(["Chief", "Clerk"][usize::from(id > 2)]),
            chief,
            date(2003, dice),
        ]
    });
    sample.fill("Customer", 30, |id| {
        vec![
            int(id),
            text(name(id)),
            or_null(60, text(format!("Company {}", id % 4)), dice),
            text(*dice.pick(&["Norway", "Brazil", "Japan", "Österreich"])),
            text(format!("c{id}@example.org")),
            or_null(10, int(dice.between(3..=8)), dice),
        ]
    });
    sample.fill("Invoice", 90, |id| {
        vec![
            int(id),
            int(dice.between(1..=30)),
            date(2020 + id % 4, dice),
            text(*dice.pick(&["Norway", "Brazil", "Japan", "Österreich"])),
            cents(dice.between(99..=2_500)),
        ]
    });
    sample.fill("InvoiceLine", 260, |id| {
        vec![
            int(id),
            int((id - 1) % 90 + 1),
            int(dice.between(1..=220)),
            cents(99),
            int(dice.between(1..=3)),
        ]
    });
}

const SCHEMA: &[&str] = &[
    "CREATE TABLE [Genre] ([GenreId] INTEGER NOT NULL, [Name] NVARCHAR(120), CONSTRAINT [PK_Genre] PRIMARY KEY ([GenreId]))",
    "CREATE TABLE [MediaType] ([MediaTypeId] INTEGER PRIMARY KEY NOT NULL, [Name] NVARCHAR(120))",
    "CREATE TABLE [Artist] ([ArtistId] INTEGER NOT NULL, [Name] NVARCHAR(120), CONSTRAINT [PK_Artist] PRIMARY KEY ([ArtistId]))",
    "CREATE TABLE [Album] ([AlbumId] INTEGER PRIMARY KEY NOT NULL, [Title] NVARCHAR(160) NOT NULL, [ArtistId] INTEGER NOT NULL, \
     FOREIGN KEY ([ArtistId]) REFERENCES [Artist] ([ArtistId]) ON DELETE NO ACTION ON UPDATE NO ACTION)",
    "CREATE TABLE [Track] ([TrackId] INTEGER PRIMARY KEY NOT NULL, [Name] NVARCHAR(200) NOT NULL, [AlbumId] INTEGER, \
     [MediaTypeId] INTEGER NOT NULL, [GenreId] INTEGER, [Composer] NVARCHAR(220), [Milliseconds] INTEGER NOT NULL, \
     [Bytes] INTEGER, [UnitPrice] NUMERIC(10,2) NOT NULL, FOREIGN KEY ([AlbumId]) REFERENCES [Album] ([AlbumId]), \
     FOREIGN KEY ([GenreId]) REFERENCES [Genre] ([GenreId]), \
     FOREIGN KEY ([MediaTypeId]) REFERENCES [MediaType] ([MediaTypeId]))",
    "CREATE TABLE [Playlist] ([PlaylistId] INTEGER PRIMARY KEY NOT NULL, [Name] NVARCHAR(120))",
    "CREATE TABLE [PlaylistTrack] ([PlaylistId] INTEGER NOT NULL, [TrackId] INTEGER NOT NULL, \
     CONSTRAINT [PK_PlaylistTrack] PRIMARY KEY ([PlaylistId], [TrackId]), \
     FOREIGN KEY ([PlaylistId]) REFERENCES [Playlist] ([PlaylistId]), FOREIGN KEY ([TrackId]) REFERENCES [Track] ([TrackId]))",
    "CREATE TABLE [Employee] ([EmployeeId] INTEGER PRIMARY KEY NOT NULL, [Name] NVARCHAR(40) NOT NULL, [Title] NVARCHAR(30), \
     [ReportsTo] INTEGER, [HireDate] DATETIME, FOREIGN KEY ([ReportsTo]) REFERENCES [Employee] ([EmployeeId]))",
    "CREATE TABLE [Customer] ([CustomerId] INTEGER PRIMARY KEY NOT NULL, [Name] NVARCHAR(40) NOT NULL, [Company] NVARCHAR(80), \
     [Country] NVARCHAR(40), [Email] NVARCHAR(60) NOT NULL, [SupportRepId] INTEGER, \
     FOREIGN KEY ([SupportRepId]) REFERENCES [Employee] ([EmployeeId]))",
    "CREATE TABLE [Invoice] ([InvoiceId] INTEGER PRIMARY KEY NOT NULL, [CustomerId] INTEGER NOT NULL, [InvoiceDate] DATETIME NOT NULL, \
     [BillingCountry] NVARCHAR(40), [Total] NUMERIC(10,2) NOT NULL, \
     FOREIGN KEY ([CustomerId]) REFERENCES [Customer] ([CustomerId]))",
    "CREATE TABLE [InvoiceLine] ([InvoiceLineId] INTEGER PRIMARY KEY NOT NULL, [InvoiceId] INTEGER NOT NULL, [TrackId] INTEGER NOT NULL, \
     [UnitPrice] NUMERIC(10,2) NOT NULL, [Quantity] INTEGER NOT NULL, \
     FOREIGN KEY ([InvoiceId]) REFERENCES [Invoice] ([InvoiceId]), FOREIGN KEY ([TrackId]) REFERENCES [Track] ([TrackId]))",
    "CREATE INDEX [IFK_AlbumArtistId] ON [Album] ([ArtistId])",
    "CREATE INDEX [IFK_InvoiceCustomerId] ON [Invoice] ([CustomerId])",
    "CREATE INDEX [IFK_InvoiceLineInvoiceId] ON [InvoiceLine] ([InvoiceId])",
    "CREATE INDEX [IFK_TrackAlbumId] ON [Track] ([AlbumId])",
];

const QUERIES: &[&str] = &[
    "SELECT * FROM Track WHERE TrackId = 17",
    "SELECT Name, UnitPrice FROM Track WHERE TrackId IN (3, 4, 999, 5)",
    "SELECT count(*), count(Composer), min(Name), max(Milliseconds) FROM Track",
    "SELECT * FROM PlaylistTrack WHERE PlaylistId = 2 AND TrackId = 6",
    "SELECT * FROM PlaylistTrack WHERE PlaylistId = 2",
    "SELECT DISTINCT BillingCountry FROM Invoice",
    "SELECT a.Name, b.Title FROM Artist a JOIN Album b USING (ArtistId)",
    "SELECT t.Name, g.Name FROM Track t NATURAL LEFT JOIN (SELECT GenreId, Name AS Genre FROM Genre) g2 \
     LEFT JOIN Genre g ON g.GenreId = t.GenreId",
    "SELECT Name FROM Customer WHERE CustomerId NOT IN (SELECT CustomerId FROM Invoice WHERE Total > 20)",
    "SELECT Name FROM Artist a WHERE NOT EXISTS (SELECT 1 FROM Album b WHERE b.ArtistId = a.ArtistId)",
    "SELECT e.Name, m.Name AS Chief FROM Employee e LEFT JOIN Employee m ON m.EmployeeId = e.ReportsTo",
    "SELECT CustomerId FROM Customer WHERE Country = 'Japan' INTERSECT SELECT CustomerId FROM Invoice WHERE Total > 5",
    "SELECT Name FROM Artist UNION SELECT Name FROM Customer",
    "WITH RECURSIVE chain(id, depth) AS (SELECT EmployeeId, 0 FROM Employee WHERE ReportsTo IS NULL UNION ALL \
     SELECT e.EmployeeId, depth + 1 FROM Employee e JOIN chain ON e.ReportsTo = chain.id) SELECT * FROM chain",
    "SELECT * FROM Invoice WHERE InvoiceDate BETWEEN '2021-01-01' AND '2021-06-30'",
    "SELECT count(*) FROM Invoice, Customer",
];

const ORDERED: &[&str] = &[
    "SELECT BillingCountry, count(*) AS invoices, sum(Total) AS total FROM Invoice GROUP BY BillingCountry ORDER BY BillingCountry",
    "SELECT TrackId, Name FROM Track ORDER BY Milliseconds DESC, TrackId LIMIT 10 OFFSET 5",
    "SELECT c.Name, sum(l.UnitPrice * l.Quantity) AS spent FROM Customer c JOIN Invoice i ON i.CustomerId = c.CustomerId \
     JOIN InvoiceLine l ON l.InvoiceId = i.InvoiceId GROUP BY c.CustomerId HAVING count(*) > 5 ORDER BY c.CustomerId",
    "SELECT Name, Composer FROM Track ORDER BY Composer NULLS LAST, TrackId DESC LIMIT 20",
    "SELECT strftime('%Y', InvoiceDate) AS year, avg(Total), total(Total) FROM Invoice GROUP BY 1 ORDER BY 1 DESC",
    "SELECT AlbumId, TrackId, row_number() OVER (PARTITION BY AlbumId ORDER BY TrackId) AS place, \
     sum(Milliseconds) OVER (PARTITION BY AlbumId ORDER BY TrackId) AS so_far FROM Track ORDER BY AlbumId, TrackId",
    "SELECT g.Name, group_concat(t.TrackId, ',' ORDER BY t.TrackId) FROM Genre g JOIN Track t USING (GenreId) \
     GROUP BY g.GenreId ORDER BY g.GenreId",
];
