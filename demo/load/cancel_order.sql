\set number random(1000, 251000)
DELETE FROM shop."order" WHERE id = :number;
