//! The SQL face of pgrelay on the source.
::pgrx::pg_module_magic!();
