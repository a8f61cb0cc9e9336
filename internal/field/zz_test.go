package field
import ("testing";"os";"strings";"github.com/kadquic/kadquic/internal/natlab")
func TestZZ(t *testing.T) {
	fewPairs = nil
	by := map[string]natlab.Kind{}
	for _, k := range natlab.Kinds { by[k.String()] = k }
	for _, p := range strings.Split(os.Getenv("PAIRS"), ",") {
		a, b, _ := strings.Cut(p, ":")
		fewPairs = append(fewPairs, pair{by[a], by[b]})
	}
	TestMatrix(t)
}
