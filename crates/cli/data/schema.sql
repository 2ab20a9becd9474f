-- The demo's tables. SQLite reads the declarations after each table as comments; Shardwright reads
-- where the rows live.

CREATE TABLE airlines (
  carrier TEXT NOT NULL PRIMARY KEY,
  name    TEXT NOT NULL
) /* shardwright: reference */;

CREATE TABLE airports (
  faa   TEXT NOT NULL PRIMARY KEY,
  name  TEXT NOT NULL,
  lat   REAL NOT NULL,
  lon   REAL NOT NULL,
  alt   INTEGER NOT NULL,
  tz    INTEGER NOT NULL,
  dst   TEXT NOT NULL,
  tzone TEXT
) /* shardwright: reference */;

CREATE TABLE planes (
  tailnum      TEXT NOT NULL PRIMARY KEY,
  year         INTEGER,
  type         TEXT NOT NULL,
  manufacturer TEXT NOT NULL,
  model        TEXT NOT NULL,
  engines      INTEGER NOT NULL,
  seats        INTEGER NOT NULL,
  speed        INTEGER,
  engine       TEXT NOT NULL
) /* shardwright: shard_key=tailnum */;

-- A plane and its flights are on one shard. A cancelled flight may have no plane: its key is NULL,
-- and null_keys=keep gives all such rows one home, the shard that owns the position of NULL.
CREATE TABLE flights (
  year           INTEGER NOT NULL,
  month          INTEGER NOT NULL,
  day            INTEGER NOT NULL,
  dep_time       INTEGER,
  sched_dep_time INTEGER NOT NULL,
  dep_delay      INTEGER,
  arr_time       INTEGER,
  sched_arr_time INTEGER NOT NULL,
  arr_delay      INTEGER,
  carrier        TEXT NOT NULL,
  flight         INTEGER NOT NULL,
  tailnum        TEXT,
  origin         TEXT NOT NULL,
  dest           TEXT NOT NULL,
  air_time       INTEGER,
  distance       INTEGER NOT NULL,
  hour           INTEGER NOT NULL,
  minute         INTEGER NOT NULL,
  time_hour      TEXT NOT NULL,
  PRIMARY KEY (tailnum, time_hour, carrier, flight)
) /* shardwright: shard_key=tailnum colocate_with=planes null_keys=keep */;

CREATE TABLE weather (
  origin     TEXT NOT NULL,
  year       INTEGER NOT NULL,
  month      INTEGER NOT NULL,
  day        INTEGER NOT NULL,
  hour       INTEGER NOT NULL,
  temp       REAL NOT NULL,
  dewp       REAL NOT NULL,
  humid      REAL NOT NULL,
  wind_dir   INTEGER,
  wind_speed REAL NOT NULL,
  wind_gust  REAL,
  precip     REAL NOT NULL,
  pressure   REAL,
  visib      REAL NOT NULL,
  time_hour  TEXT NOT NULL,
  PRIMARY KEY (time_hour, origin)
) /* shardwright: shard_key=time_hour */;
