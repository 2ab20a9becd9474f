//! Many SQLite files as one database: planner, scatter and gather, adoption of existing files.
