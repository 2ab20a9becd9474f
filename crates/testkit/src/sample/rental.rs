//! A rental shop.

use super::{Sample, cents, date, int, name, or_null, text};
use crate::dice::Dice;

/// When every row was last changed, before any trigger ran.
const THEN: &str = "2020-12-23 07:12:14";

pub(super) fn build(dice: &mut Dice) -> Sample {
    let mut sample = Sample::new("rental", SCHEMA);
    films(&mut sample, dice);
    business(&mut sample, dice);
    for table in ["actor", "film", "customer", "rental", "film_actor"] {
        for event in ["INSERT", "UPDATE"] {
            let name = format!("{table}_trigger_{}", event.to_ascii_lowercase());
            let guard = if event == "UPDATE" {
                " WHEN new.last_update = old.last_update"
            } else {
                ""
            };
            let key = key_of(table);
            sample.triggers.push(format!(
                "CREATE TRIGGER {name} AFTER {event} ON {table}{guard} BEGIN \
                 UPDATE {table} SET last_update = DATETIME('NOW') WHERE {key}; END"
            ));
        }
    }
    for sql in QUERIES {
        sample.ask(sql);
    }
    for sql in ORDERED {
        sample.ask_ordered(sql);
    }
    sample
}

fn key_of(table: &str) -> String {
    match table {
        "film_actor" => "actor_id = new.actor_id AND film_id = new.film_id".to_owned(),
        _ => format!("{table}_id = new.{table}_id"),
    }
}

fn films(sample: &mut Sample, dice: &mut Dice) {
    sample.fill("actor", 30, |id| {
        vec![
            int(id),
            text(name(id).to_uppercase()),
            text(name(id % 11).to_uppercase()),
            text(THEN),
        ]
    });
    sample.fill("language", 3, |id| {
        vec![
            int(id),
            text(["English", "日本語", "Français"][id as usize - 1]),
        ]
    });
    sample.fill("category", 6, |id| {
        vec![int(id), text(format!("Category {id}"))]
    });
    sample.fill("film", 50, |id| {
        vec![
            int(id),
            text(format!("FILM {}", name(id * 2).to_uppercase())),
            or_null(20, text("A tale of a shard and a key"), dice),
            text("2006"),
            int(dice.between(1..=3)),
            or_null(90, int(1), dice),
            cents(*dice.pick(&[99, 299, 499])),
            or_null(5, int(dice.between(46..=185)), dice),
            text(*dice.pick(&["G", "PG", "PG-13", "R", "NC-17"])),
            text(THEN),
        ]
    });
    sample.fill("film_actor", 120, |id| {
        vec![int(id % 30 + 1), int((id * 7) % 50 + 1), text(THEN)]
    });
    sample.fill("film_category", 50, |id| {
        vec![int(id), int(dice.between(1..=6))]
    });
}

fn business(sample: &mut Sample, dice: &mut Dice) {
    sample.fill("store", 2, |id| vec![int(id), int(id)]);
    sample.fill("customer", 35, |id| {
        vec![
            int(id),
            int(dice.between(1..=2)),
            text(name(id)),
            or_null(10, text(format!("c{id}@example.org")), dice),
            text(if dice.chance(10) { "N" } else { "Y" }),
            text(THEN),
        ]
    });
    sample.fill("inventory", 110, |id| {
        vec![int(id), int(dice.between(1..=50)), int(dice.between(1..=2))]
    });
    sample.fill("rental", 160, |id| {
        vec![
            int(id),
            date(2005, dice),
            int(dice.between(1..=110)),
            int(dice.between(1..=35)),
            or_null(15, date(2006, dice), dice),
            text(THEN),
        ]
    });
    sample.fill("payment", 150, |id| {
        vec![
            int(id),
            int(dice.between(1..=35)),
            or_null(3, int(id), dice),
            cents(dice.between(0..=1_199)),
            date(2005, dice),
        ]
    });
}

const SCHEMA: &[&str] = &[
    "CREATE TABLE actor (actor_id numeric NOT NULL, first_name VARCHAR(45) NOT NULL, last_name VARCHAR(45) NOT NULL, \
     last_update TIMESTAMP NOT NULL, PRIMARY KEY (actor_id))",
    "CREATE TABLE language (language_id SMALLINT NOT NULL, name CHAR(20) NOT NULL, PRIMARY KEY (language_id))",
    "CREATE TABLE category (category_id SMALLINT NOT NULL, name VARCHAR(25) NOT NULL, PRIMARY KEY (category_id))",
    "CREATE TABLE film (film_id int NOT NULL, title VARCHAR(255) NOT NULL, description BLOB SUB_TYPE TEXT DEFAULT NULL, \
     release_year VARCHAR(4) DEFAULT NULL, language_id SMALLINT NOT NULL, original_language_id SMALLINT DEFAULT NULL, \
     rental_rate DECIMAL(4,2) DEFAULT 4.99 NOT NULL, length SMALLINT DEFAULT NULL, rating VARCHAR(10) DEFAULT 'G', \
     last_update TIMESTAMP NOT NULL, PRIMARY KEY (film_id), \
     CONSTRAINT CHECK_special_rating CHECK (rating IN ('G', 'PG', 'PG-13', 'R', 'NC-17')), \
     CONSTRAINT fk_film_language FOREIGN KEY (language_id) REFERENCES language (language_id))",
    "CREATE TABLE film_actor (actor_id int NOT NULL, film_id int NOT NULL, last_update TIMESTAMP NOT NULL, \
     PRIMARY KEY (actor_id, film_id), FOREIGN KEY (actor_id) REFERENCES actor (actor_id) ON DELETE NO ACTION ON UPDATE CASCADE, \
     FOREIGN KEY (film_id) REFERENCES film (film_id) ON DELETE NO ACTION ON UPDATE CASCADE)",
    "CREATE TABLE film_category (film_id int NOT NULL, category_id SMALLINT NOT NULL, PRIMARY KEY (film_id, category_id), \
     FOREIGN KEY (film_id) REFERENCES film (film_id), FOREIGN KEY (category_id) REFERENCES category (category_id))",
    "CREATE TABLE store (store_id int NOT NULL, manager_id int NOT NULL, PRIMARY KEY (store_id))",
    "CREATE TABLE customer (customer_id int NOT NULL, store_id int NOT NULL, name VARCHAR(45) NOT NULL, email VARCHAR(50) DEFAULT NULL, \
     active CHAR(1) DEFAULT 'Y' NOT NULL, last_update TIMESTAMP NOT NULL, PRIMARY KEY (customer_id), \
     FOREIGN KEY (store_id) REFERENCES store (store_id))",
    "CREATE TABLE inventory (inventory_id int NOT NULL, film_id int NOT NULL, store_id int NOT NULL, PRIMARY KEY (inventory_id), \
     FOREIGN KEY (film_id) REFERENCES film (film_id), FOREIGN KEY (store_id) REFERENCES store (store_id))",
    "CREATE TABLE rental (rental_id int NOT NULL, rental_date TIMESTAMP NOT NULL, inventory_id int NOT NULL, customer_id int NOT NULL, \
     return_date TIMESTAMP DEFAULT NULL, last_update TIMESTAMP NOT NULL, PRIMARY KEY (rental_id), \
     FOREIGN KEY (inventory_id) REFERENCES inventory (inventory_id), FOREIGN KEY (customer_id) REFERENCES customer (customer_id))",
    "CREATE TABLE payment (payment_id int NOT NULL, customer_id int NOT NULL, rental_id int DEFAULT NULL, amount DECIMAL(5,2) NOT NULL, \
     payment_date TIMESTAMP NOT NULL, PRIMARY KEY (payment_id), \
     FOREIGN KEY (rental_id) REFERENCES rental (rental_id) ON DELETE SET NULL ON UPDATE CASCADE, \
     FOREIGN KEY (customer_id) REFERENCES customer (customer_id))",
    "CREATE INDEX idx_actor_last_name ON actor (last_name)",
    "CREATE INDEX idx_fk_film_id ON inventory (film_id)",
    "CREATE INDEX idx_rental_open ON rental (customer_id) WHERE return_date IS NULL",
    "CREATE VIEW film_list AS SELECT film.film_id AS FID, film.title AS title, category.name AS category, film.rental_rate AS price, \
     actor.first_name || ' ' || actor.last_name AS actors FROM category LEFT JOIN film_category ON category.category_id = \
     film_category.category_id LEFT JOIN film ON film_category.film_id = film.film_id JOIN film_actor ON film.film_id = film_actor.film_id \
     JOIN actor ON film_actor.actor_id = actor.actor_id",
    "CREATE VIEW sales_by_film_category AS SELECT c.name AS category, SUM(p.amount) AS total_sales FROM payment AS p \
     INNER JOIN rental AS r ON p.rental_id = r.rental_id INNER JOIN inventory AS i ON r.inventory_id = i.inventory_id \
     INNER JOIN film AS f ON i.film_id = f.film_id INNER JOIN film_category AS fc ON f.film_id = fc.film_id \
     INNER JOIN category AS c ON fc.category_id = c.category_id GROUP BY c.name",
];

const QUERIES: &[&str] = &[
    "SELECT * FROM actor WHERE actor_id = 5",
    "SELECT * FROM actor WHERE actor_id = 5.0",
    "SELECT * FROM actor WHERE actor_id = '5'",
    "SELECT * FROM film WHERE film_id IN (1, 2, 3, 77)",
    "SELECT * FROM film_actor WHERE actor_id = 8 AND film_id IN (SELECT film_id FROM film WHERE rating = 'PG')",
    "SELECT * FROM film_list",
    "SELECT title FROM film WHERE description LIKE '%shard%' AND rating GLOB 'P*'",
    "SELECT c.name FROM customer c WHERE EXISTS (SELECT 1 FROM rental r WHERE r.customer_id = c.customer_id AND r.return_date IS NULL)",
    "SELECT f.title, count(i.inventory_id) FROM film f LEFT JOIN inventory i USING (film_id) GROUP BY f.film_id",
    "SELECT a.last_name, count(DISTINCT fa.film_id) FROM actor a FULL JOIN film_actor fa ON fa.actor_id = a.actor_id GROUP BY a.actor_id",
    "SELECT count(*) FILTER (WHERE return_date IS NULL), count(return_date) FROM rental",
    "SELECT customer_id, amount FROM payment p WHERE amount = (SELECT max(amount) FROM payment WHERE customer_id = p.customer_id)",
    "SELECT last_update FROM film GROUP BY last_update",
];

const ORDERED: &[&str] = &[
    "SELECT * FROM sales_by_film_category ORDER BY category",
    "SELECT customer_id, sum(amount) AS paid FROM payment GROUP BY customer_id ORDER BY customer_id LIMIT 8",
    "SELECT rental_id, rental_date, lag(rental_date) OVER (PARTITION BY customer_id ORDER BY rental_date, rental_id) FROM rental ORDER BY rental_id",
    "SELECT title, rental_rate FROM film ORDER BY rental_rate DESC, title COLLATE NOCASE, film_id LIMIT 10",
    "SELECT substr(payment_date, 1, 7) AS month, count(*), total(amount) FROM payment GROUP BY month ORDER BY month",
];
