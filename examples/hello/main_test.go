package main

func Example() {
	main()
	// Output:
	// stored on 1 of 1
	// Hello World
}
