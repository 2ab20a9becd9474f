//! A wholesaler.

use super::{Sample, cents, date, int, name, or_null, text};
use crate::{dice::Dice, value::Value};

pub(super) fn build(dice: &mut Dice) -> Sample {
    let mut sample = Sample::new("wholesale", SCHEMA);
    people(&mut sample, dice);
    goods(&mut sample, dice);
    for sql in QUERIES {
        sample.ask(sql);
    }
    for sql in ORDERED {
        sample.ask_ordered(sql);
    }
    sample
}

/// Five letters, the same for the same number.
fn code(number: i64) -> Value {
    let letters: String = (0..5)
        .map(|place| char::from(b'A' + ((number * 7 + place * place * 3) % 26) as u8))
        .collect();
    text(letters)
}

fn people(sample: &mut Sample, dice: &mut Dice) {
    sample.fill("Regions", 4, |id| {
        vec![
            int(id),
            text(["Eastern", "Western", "Northern", "Süd"][id as usize - 1]),
        ]
    });
    sample.fill("Territories", 12, |id| {
        vec![
            text(format!("{:05}", id * 731)),
            text(name(id)),
            int(id % 4 + 1),
        ]
    });
    sample.fill("Employees", 9, |id| {
        let chief = if id == 2 { Value::Null } else { int(2) };
        let photo = Value::Blob(vec![0, id as u8, 255]);
        vec![
            int(id),
            text(name(id)),
            text(format!("Dr. {id}")),
            date(1960, dice),
            photo,
            chief,
        ]
    });
    sample.rows.swap(16, 17);
    sample.fill("EmployeeTerritories", 12, |id| {
        vec![int(id % 9 + 1), text(format!("{:05}", id * 731))]
    });
    sample.fill("Customers", 26, |id| {
        vec![
            code(id),
            text(format!("{} & Co", name(id))),
            or_null(20, text(name(id + 3)), dice),
            text(*dice.pick(&["London", "México D.F.", "Lyon", "Bergen"])),
            or_null(40, text(*dice.pick(&["WA", "OR", "SP"])), dice),
        ]
    });
}

fn goods(sample: &mut Sample, dice: &mut Dice) {
    sample.fill("Categories", 8, |id| {
        vec![
            int(id),
            text(format!("Category {id}")),
            or_null(30, text("sweet & dry"), dice),
            Value::Blob(vec![id as u8; 40]),
        ]
    });
    sample.fill("Suppliers", 10, |id| {
        vec![
            int(id),
            text(name(id * 5)),
            or_null(30, text("#http://example.org#"), dice),
        ]
    });
    sample.fill("Shippers", 3, |id| {
        vec![int(id), text(format!("Shipper {id}"))]
    });
    sample.fill("Products", 60, |id| {
        vec![
            int(id),
            text(format!("Product {}", name(id))),
            int(dice.between(1..=10)),
            or_null(5, int(dice.between(1..=8)), dice),
            cents(dice.between(250..=26_350)),
            int(dice.between(0..=125)),
            text(if dice.chance(12) { "1" } else { "0" }),
        ]
    });
    sample.fill("Orders", 110, |id| {
        vec![
            int(10_247 + id),
            or_null(4, code(dice.between(1..=26)), dice),
            int(dice.between(1..=9)),
            date(1996 + id % 3, dice),
            or_null(10, date(1997 + id % 3, dice), dice),
            int(dice.between(1..=3)),
            cents(dice.between(2..=90_000)),
        ]
    });
    sample.fill("[Order Details]", 300, |id| {
        let (order, line) = ((id - 1) / 3, (id - 1) % 3);
        vec![
            int(10_248 + order),
            int((order * 7 + line * 19) % 60 + 1),
            cents(dice.between(200..=26_350)),
            int(dice.between(1..=120)),
            Value::Real(*dice.pick(&[0.0, 0.0, 0.05, 0.25])),
        ]
    });
}

const SCHEMA: &[&str] = &[
    "CREATE TABLE Regions (RegionID INTEGER NOT NULL PRIMARY KEY, RegionDescription TEXT NOT NULL)",
    "CREATE TABLE Territories (TerritoryID TEXT NOT NULL, TerritoryDescription TEXT NOT NULL, RegionID INTEGER NOT NULL, \
     PRIMARY KEY (TerritoryID), FOREIGN KEY (RegionID) REFERENCES Regions (RegionID))",
    "CREATE TABLE Employees (EmployeeID INTEGER PRIMARY KEY AUTOINCREMENT, LastName TEXT, \"Title Of Courtesy\" TEXT, BirthDate DATE, \
     Photo BLOB, ReportsTo INTEGER, FOREIGN KEY (ReportsTo) REFERENCES Employees (EmployeeID), CHECK (BirthDate < '2020-01-01'))",
    "CREATE TABLE EmployeeTerritories (EmployeeID INTEGER NOT NULL, TerritoryID TEXT NOT NULL, PRIMARY KEY (EmployeeID, TerritoryID), \
     FOREIGN KEY (EmployeeID) REFERENCES Employees, FOREIGN KEY (TerritoryID) REFERENCES Territories)",
    "CREATE TABLE Customers (CustomerID TEXT, CompanyName TEXT, ContactName TEXT, City TEXT, Region TEXT, PRIMARY KEY (CustomerID))",
    "CREATE TABLE CustomerDemographics (CustomerTypeID TEXT NOT NULL, CustomerDesc TEXT, PRIMARY KEY (CustomerTypeID))",
    "CREATE TABLE CustomerCustomerDemo (CustomerID TEXT NOT NULL, CustomerTypeID TEXT NOT NULL, PRIMARY KEY (CustomerID, CustomerTypeID), \
     FOREIGN KEY (CustomerID) REFERENCES Customers, FOREIGN KEY (CustomerTypeID) REFERENCES CustomerDemographics)",
    "CREATE TABLE Categories (CategoryID INTEGER PRIMARY KEY AUTOINCREMENT, CategoryName TEXT, Description TEXT, Picture BLOB)",
    "CREATE TABLE Suppliers (SupplierID INTEGER PRIMARY KEY AUTOINCREMENT, CompanyName TEXT NOT NULL, HomePage TEXT)",
    "CREATE TABLE Shippers (ShipperID INTEGER PRIMARY KEY AUTOINCREMENT, CompanyName TEXT NOT NULL)",
    "CREATE TABLE Products (ProductID INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, ProductName TEXT NOT NULL, SupplierID INTEGER, \
     CategoryID INTEGER, UnitPrice NUMERIC DEFAULT 0, UnitsInStock INTEGER DEFAULT 0, Discontinued TEXT NOT NULL DEFAULT '0', \
     CHECK (UnitPrice >= (0)), CHECK (UnitsInStock >= 0), FOREIGN KEY (CategoryID) REFERENCES Categories (CategoryID), \
     FOREIGN KEY (SupplierID) REFERENCES Suppliers (SupplierID))",
    "CREATE TABLE Orders (OrderID INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, CustomerID TEXT, EmployeeID INTEGER, OrderDate DATETIME, \
     ShippedDate DATETIME, ShipVia INTEGER, Freight NUMERIC DEFAULT 0, FOREIGN KEY (EmployeeID) REFERENCES Employees (EmployeeID), \
     FOREIGN KEY (CustomerID) REFERENCES Customers (CustomerID), FOREIGN KEY (ShipVia) REFERENCES Shippers (ShipperID))",
    "CREATE TABLE [Order Details] (OrderID INTEGER NOT NULL, ProductID INTEGER NOT NULL, UnitPrice NUMERIC NOT NULL DEFAULT 0, \
     Quantity INTEGER NOT NULL DEFAULT 1, Discount REAL NOT NULL DEFAULT 0, PRIMARY KEY (OrderID, ProductID), \
     CHECK (Discount >= 0 AND Discount <= 1), CHECK (Quantity > 0), FOREIGN KEY (OrderID) REFERENCES Orders (OrderID), \
     FOREIGN KEY (ProductID) REFERENCES Products (ProductID))",
    "CREATE VIEW [Alphabetical list of products] AS SELECT Products.*, Categories.CategoryName FROM Categories \
     INNER JOIN Products ON Categories.CategoryID = Products.CategoryID WHERE Products.Discontinued = '0'",
    "CREATE VIEW [Order Subtotals] AS SELECT [Order Details].OrderID, Sum(([Order Details].UnitPrice * Quantity * (1 - Discount) / 100) * 100) \
     AS Subtotal FROM [Order Details] GROUP BY [Order Details].OrderID",
    "CREATE VIEW [Summary of Sales by Year] AS SELECT Orders.ShippedDate, Orders.OrderID, [Order Subtotals].Subtotal FROM Orders \
     INNER JOIN [Order Subtotals] ON Orders.OrderID = [Order Subtotals].OrderID WHERE Orders.ShippedDate IS NOT NULL",
    "CREATE VIEW [Customer and Suppliers by City] AS SELECT City, CompanyName, ContactName, 'Customers' AS Relationship FROM Customers \
     UNION SELECT 'unknown', CompanyName, NULL, 'Suppliers' FROM Suppliers",
];

const QUERIES: &[&str] = &[
    "SELECT * FROM Customers WHERE CustomerID = (SELECT min(CustomerID) FROM Customers)",
    "SELECT * FROM [Order Details] WHERE OrderID = 10250",
    "SELECT * FROM \"Order Details\" WHERE OrderID = 10250 AND ProductID = 15",
    "SELECT count(*) FROM `Order Details`",
    "SELECT * FROM CustomerCustomerDemo",
    "SELECT count(*), max(CustomerDesc) FROM CustomerDemographics",
    "SELECT c.CompanyName, o.OrderID FROM Customers c LEFT JOIN Orders o ON o.CustomerID = c.CustomerID",
    "SELECT o.OrderID FROM Orders o LEFT JOIN Customers c USING (CustomerID) WHERE c.CustomerID IS NULL",
    "SELECT * FROM [Customer and Suppliers by City] WHERE City = 'Lyon'",
    "SELECT e.LastName, t.TerritoryDescription, r.RegionDescription FROM Employees e JOIN EmployeeTerritories et USING (EmployeeID) \
     JOIN Territories t USING (TerritoryID) JOIN Regions r USING (RegionID)",
    "SELECT hex(Picture), length(Photo) FROM Categories, Employees WHERE CategoryID = EmployeeID",
    "SELECT City, Region, count(*) FROM Customers GROUP BY City, Region",
    "SELECT ProductName FROM Products WHERE UnitPrice > (SELECT avg(UnitPrice) FROM Products)",
    "SELECT CustomerID FROM Customers EXCEPT SELECT CustomerID FROM Orders",
    "SELECT ProductID FROM [Order Details] GROUP BY ProductID HAVING sum(Quantity) > 200",
    "SELECT name FROM sqlite_master WHERE type = 'view'",
];

const ORDERED: &[&str] = &[
    "SELECT ProductID, ProductName, CategoryName FROM [Alphabetical list of products] ORDER BY ProductName, ProductID LIMIT 12",
    "SELECT * FROM [Order Subtotals] ORDER BY OrderID DESC LIMIT 10",
    "SELECT OrderID, Subtotal FROM [Summary of Sales by Year] WHERE ShippedDate BETWEEN '1997-01-01' AND '1998-12-31' ORDER BY OrderID",
    "SELECT ShipVia, count(*), sum(Freight), avg(Freight) FROM Orders GROUP BY ShipVia ORDER BY ShipVia",
    "SELECT City, group_concat(CustomerID, '|' ORDER BY CustomerID) FROM Customers GROUP BY City ORDER BY City COLLATE NOCASE",
    "SELECT OrderID, rank() OVER (PARTITION BY EmployeeID ORDER BY OrderDate) FROM Orders ORDER BY OrderID LIMIT 40",
];
