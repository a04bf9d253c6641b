module github.com/encsession/encsession/redisstore

go 1.26.0

replace github.com/encsession/encsession => ../

require (
	github.com/alicebob/miniredis/v2 v2.40.0
	github.com/encsession/encsession v0.0.0-00010101000000-000000000000
	github.com/fernet/fernet-go v0.0.0-20240119011108-303da6aec611
	github.com/redis/go-redis/v9 v9.23.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/yuin/gopher-lua v1.1.1 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
