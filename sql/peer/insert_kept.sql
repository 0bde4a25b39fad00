-- Body of a block that puts rows which wait in a temporary table into a table that has rows: those that collide with one that is there
-- stay out. For tables that INSERT … ON CONFLICT refuses. Run by the copy with {table}, {columns}, {waiting} and {collides} filled in;
-- how many came in is the setting pgrelay.inserted.
-- A page of rows at a time; where it collides row by row. Deferrable keys are checked by triggers, which do not fire here: so their
-- collisions are looked for among the rows as they stand in the table, {collides} about those whose ctids are in `pgrelay.came`.
#variable_conflict use_column
<<pgrelay>>
DECLARE
    last_page bigint := pg_catalog.pg_relation_size('{waiting}') / pg_catalog.current_setting('block_size')::bigint - 1;
    waits tid;
    came tid[];
    inserted bigint := 0;
    low tid;
    high tid;
BEGIN
    FOR page IN 0 .. last_page LOOP
        pgrelay.low := pg_catalog.format('(%s,0)', page)::tid;
        pgrelay.high := pg_catalog.format('(%s,0)', page + 1)::tid;
        BEGIN
            WITH i AS (
                INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
                SELECT {columns} FROM {waiting} WHERE ctid >= pgrelay.low AND ctid < pgrelay.high
                RETURNING ctid AS at)
            SELECT coalesce(pg_catalog.array_agg(i.at), '{}') INTO pgrelay.came FROM i;
            IF {collides} THEN
                RAISE unique_violation;
            END IF;
            pgrelay.inserted := pgrelay.inserted + pg_catalog.cardinality(pgrelay.came);
            CONTINUE;
        EXCEPTION WHEN unique_violation OR exclusion_violation THEN
            NULL;
        END;
        FOR pgrelay.waits IN SELECT ctid FROM {waiting} WHERE ctid >= pgrelay.low AND ctid < pgrelay.high LOOP
            BEGIN
                WITH i AS (
                    INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
                    SELECT {columns} FROM {waiting} WHERE ctid = pgrelay.waits
                    RETURNING ctid AS at)
                SELECT coalesce(pg_catalog.array_agg(i.at), '{}') INTO pgrelay.came FROM i;
                IF {collides} THEN
                    RAISE unique_violation;
                END IF;
                pgrelay.inserted := pgrelay.inserted + pg_catalog.cardinality(pgrelay.came);
            EXCEPTION WHEN unique_violation OR exclusion_violation THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
    PERFORM pg_catalog.set_config('pgrelay.inserted', pgrelay.inserted::text, true);
END
