//! What the demo asks. Each question orders its rows totally, so that its answer is determined.

/// A query, and what it is there to show.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) title: &'static str,
    pub(crate) sql: &'static str,
}

/// The questions, from one shard to all of them.
pub(crate) const QUESTIONS: [Question; 6] = [
    Question {
        title: "A query by key: one aircraft's flights",
        sql: "\
SELECT day, carrier, flight, origin, dest, dep_delay
FROM flights
WHERE tailnum = 'N384HA'
ORDER BY time_hour, carrier, flight",
    },
    Question {
        title: "A colocated join: the aircraft, its flights, and names from reference tables",
        sql: "\
SELECT f.day, a.name AS airline, d.name AS destination, p.manufacturer, p.model, f.dep_delay
FROM flights AS f
JOIN planes AS p ON p.tailnum = f.tailnum
JOIN airlines AS a ON a.carrier = f.carrier
JOIN airports AS d ON d.faa = f.dest
WHERE f.tailnum = 'N384HA'
ORDER BY f.time_hour, f.carrier, f.flight",
    },
    Question {
        title: "Across all shards: which airlines leave latest, on average?",
        sql: "\
SELECT a.name AS airline, count(*) AS flights, avg(f.dep_delay) AS mean_delay,
       max(f.dep_delay) AS longest
FROM flights AS f
JOIN airlines AS a ON a.carrier = f.carrier
GROUP BY a.name
HAVING count(*) >= 30
ORDER BY mean_delay DESC, airline
LIMIT 5",
    },
    Question {
        title: "A colocated join across all shards: which manufacturers' aircraft fly most?",
        sql: "\
SELECT p.manufacturer, count(*) AS flights, count(DISTINCT f.tailnum) AS aircraft,
       sum(f.distance) AS miles
FROM flights AS f
JOIN planes AS p ON p.tailnum = f.tailnum
GROUP BY p.manufacturer
ORDER BY flights DESC, p.manufacturer
LIMIT 5",
    },
    Question {
        title: "A join that is not colocated: delays by the weather at the airport",
        sql: "\
SELECT CASE WHEN w.visib < 2 THEN 'poor' WHEN w.visib < 9 THEN 'fair' ELSE 'good' END
         AS visibility,
       count(*) AS flights, avg(f.dep_delay) AS mean_delay
FROM flights AS f
JOIN weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour
GROUP BY visibility
ORDER BY mean_delay DESC, visibility",
    },
    Question {
        title: "A missing key: cancelled flights to which no aircraft was ever assigned",
        sql: "\
SELECT carrier, origin, count(*) AS flights, count(dep_time) AS departed
FROM flights
WHERE tailnum IS NULL
GROUP BY carrier, origin
ORDER BY flights DESC, carrier, origin
LIMIT 5",
    },
];
