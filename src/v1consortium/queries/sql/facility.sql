-- name: facility_upsert_many
INSERT INTO /* SCHEMA */facilities
    (site_code, name, latitude, longitude, time_zone, tier, details)
SELECT site_code, name, latitude, longitude, time_zone, tier, details::jsonb
FROM unnest($1::text[], $2::text[], $3::float8[], $4::float8[], $5::text[], $6::text[],
            $7::text[])
    AS site (site_code, name, latitude, longitude, time_zone, tier, details)
ORDER BY site_code
ON CONFLICT (site_code) DO UPDATE
SET name = excluded.name,
    latitude = excluded.latitude,
    longitude = excluded.longitude,
    time_zone = excluded.time_zone,
    tier = excluded.tier,
    details = excluded.details,
    synced_at = now();

-- name: facility_list_in_box
SELECT site_code, name, latitude, longitude, time_zone, tier, details::text AS details
FROM /* SCHEMA */facilities
WHERE latitude BETWEEN $1::float8 AND $2::float8
  AND ($3::float8 IS NULL OR longitude BETWEEN $3::float8 AND $4::float8)
ORDER BY site_code;

-- name: facility_count
SELECT count(*) FROM /* SCHEMA */facilities;
