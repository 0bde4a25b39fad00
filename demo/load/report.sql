\set day random(0, 600)
INSERT INTO "Reporting"."Daily Totals" VALUES (date '2024-01-01' + :day, 1, 10)
    ON CONFLICT ("Day") DO UPDATE SET "Orders" = "Daily Totals"."Orders" + 1, "Revenue" = "Daily Totals"."Revenue" + 10;
